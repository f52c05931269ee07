import sys,pickle,numpy as np,time
from permfc.config import EngineConfig
from permfc_sim.device import SimDevice
from permfc.image import predicted_traffic
lanes,bus=int(sys.argv[1]),int(sys.argv[2])
cfg=EngineConfig(lanes=lanes,bus_bits=bus,block_outputs=512,features=1024)
with SimDevice(cfg,latency=30) as d:
    for b in (0.2,0.35,0.6,1.0,1.5,2.0,2.5,3.0):
        n=pickle.load(open(f"/tmp/m/net_{b}_{bus}_512.pkl","rb"))
        x=np.random.default_rng(0).integers(1,128,1024).astype(np.int8)
        d.load(n); t=time.time(); y=d.run(x); t=time.time()-t
        ok=np.array_equal(y,n.compute(x[None])[0]); c=d.counters()
        w=int(predicted_traffic(n,x[None],cfg).total_words[0])
        print(lanes,bus,b,'ok' if ok else 'WRONG','cycles',c.cycles,'words',w,c.beats if hasattr(c,'beats') else '', 'ratio %.3f'%(c.cycles/w), 'sim %.0f/s'%(c.cycles/t),flush=True)
