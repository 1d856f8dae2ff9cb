"""The same pods for both schedulers: node, nominated node, condition and events must be equal.

Run by compare; needs KUBECONFIG of a cluster on which upstream's scheduler and ours (as `xebec`) both run."""
import json,os,subprocess,sys,time
K=[os.environ.get("KUBECTL","kubectl"),"--kubeconfig",os.environ["KUBECONFIG"]]
def k(*a,inp=None,check=True):
    r=subprocess.run(K+list(a),input=inp,capture_output=True,text=True)
    if check and r.returncode: print("ERR",a,r.stderr[:500])
    return r.stdout
def apply(objs): k("apply","-f","-",inp=json.dumps({"apiVersion":"v1","kind":"List","items":objs}))
def node(name,zone=None,cpu="4",taints=None,unsched=False,extra=None,labels=None):
    l={"kubernetes.io/hostname":name}
    if zone: l["topology.kubernetes.io/zone"]=zone
    l.update(labels or {})
    return {"apiVersion":"v1","kind":"Node","metadata":{"name":name,"labels":l},"spec":{"taints":taints or [],"unschedulable":unsched},
     "status":{"capacity":{"cpu":cpu,"memory":"8Gi","pods":"10",**(extra or {})},"allocatable":{"cpu":cpu,"memory":"8Gi","pods":"10",**(extra or {})},"conditions":[{"type":"Ready","status":"True"}]}}
nodes=[node("n1","a"),node("n2","a",taints=[{"key":"k","value":"v","effect":"NoSchedule"}]),node("n3","b",unsched=True),node("n4","b",cpu="1"),node("n5",extra={"example.com/gpu":"2"},labels={"disk":"ssd"})]
def pod(ns,name,sched,labels=None,**spec):
    c={"name":"c","image":"web"}
    if "cpu" in spec or "memory" in spec or "req" in spec:
        r=dict(spec.pop("req",{}))
        for x in("cpu","memory"):
            if x in spec: r[x]=spec.pop(x)
        c["resources"]={"requests":r,"limits":{a:b for a,b in r.items() if "/" in a}}
    if "hostPort" in spec: c["ports"]=[{"containerPort":80,"hostPort":spec.pop("hostPort")}]
    return {"apiVersion":"v1","kind":"Pod","metadata":{"name":name,"namespace":ns,"labels":labels or {}},"spec":{"schedulerName":sched,"terminationGracePeriodSeconds":0,"containers":[c],**spec}}
def anti(app,key,kind="podAntiAffinity"): return {kind:{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":app}},"topologyKey":key}]}}
Z="topology.kubernetes.io/zone";H="kubernetes.io/hostname"
def nodeaff(exprs,fields=None):
    t={}
    if exprs: t["matchExpressions"]=exprs
    if fields: t["matchFields"]=fields
    return {"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[t]}}}
def spread(key,skew=1,app="web",**kw): return [{"maxSkew":skew,"topologyKey":key,"whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":app}},**kw}]
cases={
 "toobig":dict(cpu="8"),
 "toobigmem":dict(cpu="8",memory="90Gi"),
 "gpu3":dict(req={"example.com/gpu":"3"}),
 "gpucpu":dict(req={"example.com/gpu":"1","cpu":"5"}),
 "selector":dict(nodeSelector={"disk":"hdd"}),
 "selector2":dict(nodeSelector={"disk":"ssd"},cpu="6"),
 "aff":dict(affinity=nodeaff([{"key":"disk","operator":"In","values":["x"]}])),
 "byname":dict(affinity=nodeaff(None,[{"key":"metadata.name","operator":"In","values":["n4"]}]),cpu="3"),
 "byname2":dict(affinity=nodeaff(None,[{"key":"metadata.name","operator":"In","values":["n3"]}])),
 "nonode":dict(affinity=nodeaff(None,[{"key":"metadata.name","operator":"In","values":["nope"]}])),
 "tol":dict(cpu="6",tolerations=[{"operator":"Exists"}]),
 "near":dict(affinity=anti("nobody",Z,"podAffinity")),
 "far":dict(affinity=anti("web",H),cpu="3500m"),
 "farzone":dict(affinity=anti("web",Z),nodeSelector={}, cpu="2"),
 "kept":dict(labels={"app":"kept"},cpu="3"),
 "port":dict(hostPort=8081),
 "spread":dict(labels={"app":"web"},topologySpreadConstraints=spread(Z)),
 "spread2":dict(labels={"app":"web"},topologySpreadConstraints=spread(Z,1,minDomains=5)),
 "spreadh":dict(labels={"app":"web"},topologySpreadConstraints=spread(H),cpu="2"),
 "prio":dict(priorityClassName="hi",cpu="3500m",nodeSelector={H:"n1"},preempt=True),
 "priosame":dict(priorityClassName="hi",cpu="6"),
 "never":dict(priorityClassName="never",cpu="3500m"),
 "noclaim":dict(volumes=[{"name":"v","persistentVolumeClaim":{"claimName":"nope"}}]),
 "unbound":dict(volumes=[{"name":"v","persistentVolumeClaim":{"claimName":"now"}}]),
 "waits":dict(volumes=[{"name":"v","persistentVolumeClaim":{"claimName":"later"}}]),
 "ephemeral":dict(volumes=[{"name":"v","ephemeral":{"volumeClaimTemplate":{"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]),
 "gated":dict(schedulingGates=[{"name":"example.com/g"}]),
}
fixed=[ # bound already
 dict(name="w1",nodeName="n1",labels={"app":"web"},cpu="1"),
 dict(name="w2",nodeName="n1",labels={"app":"web"},cpu="500m"),
 dict(name="k1",nodeName="n5",labels={"x":"y"},affinity=anti("kept",H)),
 dict(name="p1",nodeName="n1",hostPort=8081),dict(name="p4",nodeName="n4",hostPort=8081),dict(name="p5",nodeName="n5",hostPort=8081),
]
if sys.argv[1]=="up":
    apply(nodes)
    for n in nodes:
        k("patch","node",n["metadata"]["name"],"--type=merge","-p",json.dumps({"spec":{"taints":n["spec"]["taints"]+([{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}] if n["spec"]["unschedulable"] else [])}}))
        k("patch","node",n["metadata"]["name"],"--subresource=status","--type=merge","-p",json.dumps({"status":n["status"]}))
    apply([{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"hi"},"value":1000},{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"never"},"value":1000,"preemptionPolicy":"Never"}])
    for ns in("up","our"): apply([{"apiVersion":"v1","kind":"Namespace","metadata":{"name":ns}}])
    def claim(ns,name,cls): return {"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":name,"namespace":ns},"spec":{"storageClassName":cls,"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}
    apply([{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"later"},"provisioner":"kubernetes.io/no-provisioner","volumeBindingMode":"WaitForFirstConsumer"}])
    for ns in("up","our"): apply([claim(ns,"now",""),claim(ns,"later","later")])
    time.sleep(1)
res={}
def one(ns,sched,cs):
    objs=[]
    for f in fixed:
        f=dict(f); name=f.pop("name"); objs.append(pod(ns,name,"none",**f))
    apply(objs); time.sleep(1.5)
    objs=[]
    for name in cs:
        c=dict(cases[name]); c.pop("preempt",None)
        objs.append(pod(ns,name,sched,**c))
    out={}
    # one at a time, deleted afterwards, so that one does not influence the other
    for o in objs:
        name=o["metadata"]["name"]
        apply([o]); 
        for _ in range(40):
            time.sleep(0.25)
            p=json.loads(k("get","pod","-n",ns,name,"-o","json") or "{}")
            c=[x for x in p.get("status",{}).get("conditions",[]) if x["type"]=="PodScheduled"]
            if p.get("spec",{}).get("nodeName") or c: break
        time.sleep(0.6)
        p=json.loads(k("get","pod","-n",ns,name,"-o","json") or "{}")
        ev=json.loads(k("get","events","-n",ns,"--field-selector","involvedObject.name="+name,"-o","json"))["items"]
        evs=sorted({(e["type"],e["reason"],e.get("message","").replace(ns+"/","NS/")) for e in ev})
        c=[(x["status"],x.get("reason"),x.get("message"),x.get("observedGeneration")) for x in p.get("status",{}).get("conditions",[]) if x["type"]=="PodScheduled"]
        out[name]=dict(node=p.get("spec",{}).get("nodeName"),nominated=p.get("status",{}).get("nominatedNodeName"),cond=c,events=evs)
        k("delete","pod","-n",ns,name,"--force","--grace-period=0",check=False)
        if name=="prio":
            apply([pod(ns,f["name"],"none",**{a:b for a,b in f.items() if a!="name"}) for f in fixed]); time.sleep(0.5)
    for f in fixed: k("delete","pod","-n",ns,f["name"],"--force","--grace-period=0",check=False)
    time.sleep(1)
    return out
names=sys.argv[2:] or list(cases)
a=one("up","default-scheduler",names); b=one("our","xebec",names)
same=0
for n in names:
    x,y=a[n],b[n]
    if x==y: same+=1; continue
    print("==",n); 
    for key in x:
        if x[key]!=y[key]: print("  ",key,"\n     up :",x[key],"\n     our:",y[key])
print(same,"of",len(names),"same")
sys.exit(same!=len(names))
