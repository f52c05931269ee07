from model import *
def model_groups(network,cfg,x,per=4,fetch=2,latency=30):
    """4+12: sparse segments only on one lane of each group; prefix on all; no drain in dense, group sum at the end"""
    W=cfg.bus_bytes; L=cfg.lanes; lay=image_layout(network,W)
    words=lay.header_words; tmem=latency+words; t=0; last=-1
    a=[r[0]!=0 for r in network.layer_inputs(x[None])]
    for b in lay.blocks:
        words+=b.program_words; par=b.program_words-b.descriptor_words
        if b.layer!=last: tmem=max(tmem,t)+b.descriptor_words+latency; tdec=tmem; free=[]; last=b.layer
        else: tmem+=b.descriptor_words
        S=[];P=[]
        for seg,fw in zip(b.classes,b.feature_words):
            if seg.kind is Kind.EMPTY: continue
            idx=np.flatnonzero(a[b.layer][seg.first:seg.end]); st=steps(seg).max()
            k=2 if seg.kind is Kind.DENSE8 else 1
            for _ in idx:
                for _ in range(k): (S if seg.kind is Kind.SPARSE else P).append((fw//k,st))
        rounds=[S[i:i+L//per] for i in range(0,len(S),L//per)]+[P[i:i+L] for i in range(0,len(P),L)]
        for n,r in enumerate(rounds):
            w=sum(q[0] for q in r); words+=w
            fr=free[-8] if len(free)>=8 else 0
            tmem=max(tmem,fr)+w+(par if n==1 else 0)
            tdec=max(tdec,tmem)+2*max(2,max(q[1] for q in r))+2; free.append(tdec)
        tdec=max(tdec,tmem)+b.outputs+8
        t=tdec+12
    return t,words,t/words
for lanes,bus in ((16,32),(32,64)):
    for bits in (0.2,0.35,0.6,1.0,1.5,2.0):
        net=pickle.load(open(f"/tmp/m/net_{bits}_{bus}_512.pkl",'rb')); cfg=EngineConfig(lanes=lanes,bus_bits=bus)
        x=np.ones(1024,np.int8)
        print(lanes,bus,bits,*(f"{model_groups(net,cfg,x,per=p)[2]:.2f}" for p in (4,2,1)))
