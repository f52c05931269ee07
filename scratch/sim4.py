import sys, time, numpy as np
sys.path.insert(0,'tests')
from networks import random_network, random_inputs
from permfc.config import EngineConfig
from permfc_sim.device import SimDevice
import permfc_hw; print(permfc_hw.__file__)
cfg=EngineConfig(lanes=int(sys.argv[1]),bus_bits=int(sys.argv[2]),block_outputs=64,features=256)
bad=0
with SimDevice(cfg,latency=30) as d:
    for seed in range(int(sys.argv[3])):
        rng=np.random.default_rng(seed)
        sizes=[int(v) for v in rng.integers(1,200,rng.integers(2,4))]
        try: n=random_network(seed,sizes,most_block_outputs=64)
        except TypeError: n=random_network(seed,sizes,block_outputs=int(min(64,min(sizes))))
        try: d.load(n)
        except Exception as e: print(seed,'load',str(e)[:80]); continue
        for k in range(2):
            x=random_inputs(seed+100*k,sizes[0])[0] if random_inputs(seed,sizes[0]).ndim==2 else random_inputs(seed,sizes[0])
            try: y=d.run(x)
            except Exception as e: print(seed,sizes,'run',type(e),str(e)[:100]); bad+=1; continue
            w=n.compute(x[None])[0]
            if not np.array_equal(y,w):
                bad+=1; print(seed,sizes,'differs',np.flatnonzero(y!=w)[:8],y[y!=w][:4],w[y!=w][:4],[[ (s.kind.value,s.features,s.turns) for s in b] for l in n.layers for b in l.blocks][:2])
print('bad',bad)
