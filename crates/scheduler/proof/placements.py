"""The same pods for both schedulers: the chosen node must be equal (ties are chosen by chance, so look before you worry).

Run by compare; needs KUBECONFIG of a cluster on which upstream's scheduler and ours (as `xebec`) both run."""
import os
exec(open(os.path.join(os.path.dirname(__file__),"messages.py")).read().split('if sys.argv[1]=="up":')[0])
M={"set":"m"}
def mnode(name,zone,cpu,mem,taints=None,images=None,labels=None):
    n=node(name,zone,cpu=cpu,labels={**M,**(labels or {})}); n["spec"]["taints"]=taints or []
    for a in("capacity","allocatable"): n["status"][a]["memory"]=mem
    n["status"]["images"]=images or []
    return n
nodes=[mnode("m1","a","4","8Gi"),mnode("m2","a","8","16Gi",images=[{"names":["big:1"],"sizeBytes":900000000}]),mnode("m3","b","4","32Gi",taints=[{"key":"s","effect":"PreferNoSchedule"}]),mnode("m4","b","16","16Gi",labels={"disk":"ssd"}),mnode("m5","c","6","12Gi",images=[{"names":["big:1"],"sizeBytes":900000000}])]
def pref(exprs,w=50): return {"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":w,"preference":{"matchExpressions":exprs}}]}}
def prefpod(app,key,w=100,kind="podAffinity"): return {kind:{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":w,"podAffinityTerm":{"labelSelector":{"matchLabels":{"app":app}},"topologyKey":key}}]}}
fixed=[dict(name="a1",nodeName="m1",labels={"app":"web"},cpu="1",memory="1Gi"),dict(name="a2",nodeName="m2",labels={"app":"web"},cpu="2",memory="1Gi"),dict(name="a3",nodeName="m4",labels={"app":"db"},cpu="4",memory="8Gi"),
 dict(name="a4",nodeName="m5",labels={"app":"cache"},cpu="500m",affinity=prefpod("likes",Z,80))]
def soft(key,skew=1,app="web"): return [{"maxSkew":skew,"topologyKey":key,"whenUnsatisfiable":"ScheduleAnyway","labelSelector":{"matchLabels":{"app":app}}}]
cases={
 "plain":dict(),"cpu1":dict(cpu="1"),"mem5":dict(memory="5Gi"),"cpu2mem1":dict(cpu="2",memory="1Gi"),"cpu100":dict(cpu="100m",memory="6Gi"),
 "prefdisk":dict(affinity=pref([{"key":"disk","operator":"Exists"}]),cpu="500m"),
 "nearweb":dict(affinity=prefpod("web",Z),cpu="100m"),"farweb":dict(affinity=prefpod("web",Z,100,"podAntiAffinity"),cpu="100m"),
 "liked":dict(labels={"app":"likes"},cpu="100m"),
 "softz":dict(labels={"app":"web"},topologySpreadConstraints=soft(Z),cpu="100m"),
 "softh":dict(labels={"app":"web"},topologySpreadConstraints=soft(H),cpu="100m"),
 "softboth":dict(labels={"app":"web"},topologySpreadConstraints=soft(H)+soft(Z,2),cpu="1",memory="1Gi"),
 "svc":dict(labels={"app":"db"},cpu="100m",memory="100Mi"),
 "image":dict(image="big:1",cpu="200m",memory="200Mi"),
 "tolsoft":dict(tolerations=[{"key":"s","operator":"Exists"}],memory="3Gi"),
 "two":dict(affinity={**prefpod("db",H,30),**{"podAntiAffinity":prefpod("web",H,60,"podAntiAffinity")["podAntiAffinity"]}},cpu="300m"),
}
apply(nodes)
for n in nodes:
    k("patch","node",n["metadata"]["name"],"--type=merge","-p",json.dumps({"spec":{"taints":n["spec"]["taints"]}}))
    k("patch","node",n["metadata"]["name"],"--subresource=status","--type=merge","-p",json.dumps({"status":n["status"]}))
for ns in("up","our"):
    apply([{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":ns},"spec":{"selector":{"app":"db"},"ports":[{"port":80}]}}])
time.sleep(1)
def place(ns,sched):
    apply([pod(ns,f["name"],"none",**{a:b for a,b in f.items() if a!="name"}) for f in fixed]); time.sleep(1.5)
    out={}
    for name,c in cases.items():
        c=json.loads(json.dumps(c)); image=c.pop("image",None); got=[]
        for _ in range(3):
            o=pod(ns,name,sched,**c); o["spec"]["nodeSelector"]=M
            if image: o["spec"]["containers"][0]["image"]=image
            apply([o])
            for _ in range(40):
                time.sleep(0.15)
                n=json.loads(k("get","pod","-n",ns,name,"-o","json") or "{}").get("spec",{}).get("nodeName")
                if n: break
            got.append(n)
            k("delete","pod","-n",ns,name,"--force","--grace-period=0",check=False); time.sleep(0.2)
        out[name]=sorted(set(map(str,got)))
    for f in fixed: k("delete","pod","-n",ns,f["name"],"--force","--grace-period=0",check=False)
    time.sleep(1)
    return out
a=place("up","default-scheduler"); b=place("our","xebec")
same=sum(a[n]==b[n] for n in cases)
for n in cases: print("  " if a[n]==b[n] else "!!",n,a[n],b[n])
print(same,"of",len(cases),"same")
