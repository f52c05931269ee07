import sys, numpy as np, pickle, os
sys.path.insert(0,'/work/main/benchmarks')
from cycles import gaussian_network
from permfc.config import EngineConfig
from permfc.network import Kind
from permfc.image.layout import image_layout
from permfc.network.sparse import _Runs

def steps(seg):
    """turns per feature [n]: max over streams of codewords until last nonzero; sum"""
    if seg.kind is Kind.SPARSE:
        out=[]
        for p in (0,1):
            r=_Runs.of(seg.indices[:,p::2])
            q=(r.zeros>>seg.rice)+1
            c=np.concatenate([[0],np.cumsum(q)])
            out.append(np.diff(c[r.begins]))
        return np.maximum(*out)
    return np.full(seg.features, -(-seg.outputs//2))

def model(network, cfg, x, S=2, fetch=4, drain=True, scatter=True, latency=30, first=60, perclass=True, chain=2, over=1):
    """cycles"""
    W=cfg.bus_bytes; L=cfg.lanes
    lay=image_layout(network,W)
    t=0.; words=0
    a=[r[0]!=0 for r in network.layer_inputs(x[None])]
    lastlayer=-1
    words=lay.header_words
    tmem=latency+lay.header_words
    for b in lay.blocks:
        desc=b.descriptor_words
        par=b.program_words-desc
        words+=b.program_words
        if b.layer!=lastlayer:
            tf=tmem=max(tmem, t)+desc+latency   # not prefetched
            tdec=tmem
            slotfree=[]
            lastlayer=b.layer
        else:
            tmem+=desc
        R=[]
        act=a[b.layer]
        for seg,fw in zip(b.classes,b.feature_words):
            if seg.kind is Kind.EMPTY: continue
            idx=np.flatnonzero(act[seg.first:seg.end])
            st=steps(seg)
            if perclass: st=np.full(len(st), st.max() if len(st) else 0)
            if not scatter: st=np.full(len(st),-(-seg.outputs//2))
            k=2 if seg.kind is Kind.DENSE8 else 1
            for i in idx:
                for _ in range(k): R.append((fw//k, st[i]))
        rounds=[R[i:i+L] for i in range(0,len(R),L)]
        for n,r in enumerate(rounds):
            w=sum(q[0] for q in r); words+=w
            tf=tf+fetch*len(r)
            free=slotfree[-S] if len(slotfree)>=S else 0
            tmem=max(max(tmem,free)+w, tf+latency, max(tmem,free)+w)
            if n==1: tmem+=par
            s=max(2,max(q[1] for q in r))
            tdec=max(tdec,tmem)+2*s+2*over
            slotfree.append(tdec)
        if len(rounds)<2: tmem+=par
        if drain: tdec=max(tdec,tmem)+b.outputs+chain*L
        t=tdec+12
    return t, words, t/words

if __name__=="__main__":
    for lanes,bus,block in ((16,32,512),(32,64,512)):
        for bits in (0.2,0.35,0.6,1.0,1.5,2.0,2.5,3.0):
            cfg=EngineConfig(lanes=lanes,bus_bits=bus,block_outputs=block,features=1024)
            f=f"/tmp/m/net_{bits}_{bus}_{block}.pkl"
            if os.path.exists(f): net=pickle.load(open(f,'rb'))
            else:
                net=gaussian_network(1024,1024,bits,cfg); pickle.dump(net,open(f,'wb'))
            x=np.ones(1024,np.int8)
            kinds={k.value:sum(s.features for s in net.layers[0].blocks[0] if s.kind is k) for k in Kind}
            now=model(net,cfg,x,S=2,fetch=4,drain=False,scatter=False)
            row=[f"{v[2]:.2f}" for v in (now,
               model(net,cfg,x,S=2,fetch=4), model(net,cfg,x,S=2,fetch=2), model(net,cfg,x,S=8,fetch=2), model(net,cfg,x,S=8,fetch=2,perclass=False), model(net,cfg,x,S=4,fetch=1),model(net,cfg,x,S=8,fetch=1,over=0))]
            print(lanes,bus,bits,now[1],kinds,"now",row[0],"| S2f4",row[1],"S2f2",row[2],"S8f2",row[3],"perseg",row[4],"S4f1",row[5],"S8f1o0",row[6],flush=True)
