import sys, time, torch, json, math, copy
import numpy as np
from experiments.zero_shot.start import images
from experiments.data_folder import data_folder
from restore.data.internal_pairs import CropSettings, InternalPairs, Pyramids, pyramid
from restore.data import internal_pairs
from restore.models.zero_shot.network import ZeroShotNetwork
from restore.config.inference import Inference
from restore.inference.zero_shot import ZeroShotNetworkRestorer
from restore.metrics.protocols import protocol
from restore.models.zero_shot.reconstruction import Reconstruction
from restore.ops.resize import resize, new_length
torch.set_num_threads(1)
P=protocol('sr_y')
PADDED=[0]; ROUND=[0]
from restore.networks.zssr import ZSSRNetwork
_f=ZSSRNetwork.forward
def fwd(self,x):
    r=PADDED[0]
    if not r: return _f(self,x)
    return _f(self,torch.nn.functional.pad(x,(r,r,r,r),mode='reflect'))[...,r:-r,r:-r]
ZSSRNetwork.forward=fwd
def shifted(fa,f,net,dy,dx):
    L=internal_pairs.LEVELS
    for k in range(L):
        z=0.5**(k/max(1,L-1)); sm=resize(fa,z) if k else fa
        sm=sm[:,dy:,dx:]; h,w=sm.shape[1:]
        so=net.shrink(sm,f)
        if ROUND[0]: so=(so.clamp(0,1)*255).round()/255
        yield internal_pairs.FatherAndSon(sm,resize(so,f,size=(h,w)))
def run(name,lq,gt,scale,o):
    o={**dict(steps=800,lr=1e-3,anneal=1.0,warm=0,ema=0.0,perm=False,patch=128,batch=1,channels=3,cons=0.0,seed=0,evals=[],wd=0.0,beta2=0.999,scales=None,levels=6,width=64,depth=8,gain=1.0,mix=0,drop=0.0,res=0.1,noise=0.0,phases=1,inner=0,pad=0,loss='l1',round=0),**o}
    ROUND[0]=o['round']
    internal_pairs.LEVELS=o['levels']
    torch.manual_seed(o['seed'])
    net=ZeroShotNetwork(scale=float(scale),scale_steps=o['scales'],in_channels=o['channels'],width=o['width'],depth=o['depth'],kernel_size=3,back_projection=8,kernel=None,information_gain=None)
    net.to(memory_format=torch.channels_last)
    fathers=[lq.float()]; t0=time.process_time(); out=[]
    nsteps=len(net.factors)
    for k in range(nsteps):
        s=net.steps[k]; f=net.factors[k]
        pairs=InternalPairs(CropSettings(patch_size=o['patch'],batch_size=o['batch'],noise=o['noise']),o['seed'])
        lev=[]
        for fa in fathers:
            for dy in range(o['phases']):
                for dx in range(o['phases']):
                    if (dy,dx)==(1,1): continue
                    lev+=list(shifted(fa,f,net,dy,dx))
        pairs.pyramids.append(Pyramids(0,f,1,lev))
        opt=torch.optim.AdamW(s.parameters(),o['lr'],weight_decay=o['wd'],betas=(0.9,o['beta2'])) if o['wd'] else torch.optim.Adam(s.parameters(),o['lr'],betas=(0.9,o['beta2']))
        ema=copy.deepcopy(s) if o['ema'] else None
        rng=np.random.default_rng(5)
        up=None
        for i in range(o['steps']):
            left=1-i/o['steps']
            for g in opt.param_groups: g['lr']=o['lr']*min(1,left/max(o['anneal'],1e-9))*min(1,(i+1)/max(1,o['warm']))
            b=[pairs[i*o['batch']+j] for j in range(o['batch'])]
            if o['perm']:
                for e in b:
                    p=torch.from_numpy(rng.permutation(3)); e['lq'],e['gt']=e['lq'][p],e['gt'][p]
            x=torch.stack([e['lq'] for e in b]); y=torch.stack([e['gt'] for e in b])
            if o['channels']==1 and o.get('one'):  # one random channel
                c=int(rng.integers(3)); x,y=x[:,c:c+1],y[:,c:c+1]
            PADDED[0]=0
            d=s(x.contiguous(memory_format=torch.channels_last))-y; m=o['inner']
            if m: d=d[...,m:-m,m:-m]
            loss=d.abs().mean() if o['loss']=='l1' else torch.sqrt(d.square()+1e-4).mean() if o['loss']=='charb' else d.square().mean()*30
            if o['cons']:
                fa=fathers[0]; h,w=fa.shape[1:]; q=o.get('cpatch',48); a,c=int(rng.integers(h-q+1)),int(rng.integers(w-q+1))
                cr=fa[None,:,a:a+q,c:c+q]; e=resize(cr,f)
                pr=s(e); loss=loss+o['cons']*(resize(pr,1/f)-cr)[...,4:-4,4:-4].abs().mean()
            opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
            if ema is not None:
                d=min(o['ema'],(i+1)/(i+10))
                with torch.no_grad():
                    for a,c in zip(ema.parameters(),s.parameters()): a.lerp_(c,1-d)
            if k==nsteps-1 and (i+1) in o['evals']+[o['steps']]:
                PADDED[0]=o['pad']; t1=time.process_time()
                for tag,m in (('raw',s),('ema',ema)):
                    if m is None: continue
                    keep=net.networks[k] if hasattr(net,'networks') else None
                    back=copy.deepcopy(s.state_dict())
                    s.load_state_dict(m.state_dict())
                    pr=ZeroShotNetworkRestorer("x",net,Inference(device="cpu")).restore(lq)
                    s.load_state_dict(back)
                    out.append((i+1,tag,round(float(P.score(pr,gt,scale=scale)['psnr_y']),3)))
                t0+=time.process_time()-t1
        if k<nsteps-1:
            PADDED[0]=o['pad']
            with torch.no_grad():
                r=net.enlarge(lq.float()[None],run=lambda st,g:net.run(st,g,tile=None,report=None),views=8,stages=k+1)[0]
            fathers.append(r.clamp(0,1)); net.hand_on(k)
    return out,round(time.process_time()-t0)
if __name__=='__main__':
    scale=int(sys.argv[1]); names=sys.argv[2].split(','); bench=sys.argv[3]
    for spec in sys.argv[4:]:
        o=json.loads(spec); fin=[]
        for name,lq,gt in images(data_folder()/f"benchmarks/{bench}",scale,None):
            if names!=['all'] and name not in names: continue
            out,sec=run(name,lq,gt,scale,o); fin.append({(a,b):c for a,b,c in out})
            print(spec,name,out,sec,flush=True)
        print('MEAN',scale,spec,{k:round(sum(f[k] for f in fin)/len(fin),3) for k in fin[0]},flush=True)
