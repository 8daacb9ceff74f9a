import sys, time, torch, json
from experiments.zero_shot.start import images
from experiments.data_folder import data_folder
from restore.config.inference import Inference, ZeroShotTraining
from restore.inference.single_image_training import Watch, train, untrained
from restore.inference.zero_shot import ZeroShotNetworkRestorer
from restore.metrics.protocols import protocol
torch.set_num_threads(1)
scale=int(sys.argv[1]); names=sys.argv[2].split(","); steps=int(sys.argv[3]); bench=sys.argv[4]
for spec in sys.argv[5:]:
    v=json.loads(spec); acc=[]
    for name,lq,gt in images(data_folder()/f"benchmarks/{bench}",scale,None):
        if names!=["all"] and name not in names: continue
        t=time.process_time()
        tr=ZeroShotTraining(max_steps=steps,start="scratch",model=v.get("model",{}),data=v.get("data",{}))
        m=untrained(float(scale),tr); train(m,lq,tr,torch.device("cpu"),use_bf16=False,watch=Watch(None,None))
        row=[]
        for r in (0,8):
            m.network.rounds=r
            p=ZeroShotNetworkRestorer("x",m.network,Inference(device="cpu")).restore(lq)
            row.append(float(protocol('sr_y').score(p,gt,scale=scale)['psnr_y']))
        acc.append(row); print(spec,name,[round(x,3) for x in row],[ (r.drops, r.steps[-1]) for r in m.steps.records],round(time.process_time()-t),flush=True)
    print("MEAN",scale,bench,spec,[round(sum(c)/len(c),3) for c in zip(*acc)],flush=True)
