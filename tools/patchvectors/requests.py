"""Sends patch requests to an upstream API server and writes what it answers.

    python3 requests.py URL TOKEN OUTPUT

Each line: [request, code, answer, warnings]; what differs from run to run is "*"; "compare": "code"
in a request says that no more than the code counts. Replayed against
our own server by crates/apiserver/tests/patches.rs. The server is a fresh one, with etcd;
the token is that of a user in system:masters.
"""
import copy, json, re, ssl, sys, urllib.error, urllib.request

BASE, TOKEN, OUTPUT = sys.argv[1:]
ctx=ssl._create_unverified_context()
def send(r):
    req=urllib.request.Request(BASE+r["path"],method=r["method"],data=r.get("body","").encode() if "body" in r else None)
    req.add_header("Authorization","Bearer "+TOKEN)
    req.add_header("Accept","application/json")
    if "type" in r: req.add_header("Content-Type",r["type"])
    req.add_header("User-Agent",r.get("agent","kubectl/v1.37.2"))
    try:
        a=urllib.request.urlopen(req,context=ctx)
    except urllib.error.HTTPError as e:
        a=e
    body=a.read()
    warnings=[v for k,v in a.headers.items() if k.lower()=="warning"]
    return a.status if hasattr(a,'status') else a.code, json.loads(body) if body else None, warnings
J="application/json-patch+json"; M="application/merge-patch+json"; S="application/strategic-merge-patch+json"; A="application/apply-patch+yaml"
CM="/api/v1/namespaces/default/configmaps"
DEP="/apis/apps/v1/namespaces/default/deployments"
out=[]
def post(path,obj,**k): return dict(method="POST",path=path,type="application/json",body=json.dumps(obj),**k)
def put(path,obj,**k): return dict(method="PUT",path=path,type="application/json",body=json.dumps(obj),**k)
def patch(t,path,body,**k): return dict(method="PATCH",path=path,type=t,body=body if isinstance(body,str) else json.dumps(body),**k)
def get(path): return dict(method="GET",path=path)
def delete(path): return dict(method="DELETE",path=path)
cm=lambda name,data: {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":name},"data":data}
a=CM+"/a"
R=[
 post("/api/v1/namespaces/default/serviceaccounts",{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}),
 post(CM,cm("a",{"a":"1","b":"2"}),agent="kubectl/v1.37.2 (linux/amd64)"),
 # JSON patch
 patch(J,a,[{"op":"replace","path":"/data/a","value":"9"},{"op":"add","path":"/data/c","value":"3"}],agent="one/1"),
 patch(J,a,[{"op":"test","path":"/data/a","value":"no"}]),
 patch(J,a,[{"op":"remove","path":"/data/nothing"}]),
 patch(J,a,[{"op":"replace","path":"/data/a"}]),
 patch(J,a,"[{"),
 patch(J,a,""),
 patch(J,a,"null"),
 patch(J,a,"{}"),
 patch(J,a+"?fieldValidation=Ignore","{}"),
 patch(J,a,"[1]"),
 patch(J,a+"?fieldValidation=Ignore","[1]"),
 patch(J,a,'[{"op":5}]'),
 patch(J,a,[{"op":"add","path":"/data/d","value":"1","extra":1}]),
 patch(J,a+"?fieldValidation=Strict",[{"op":"add","path":"/data/d","value":"2","extra":1}]),
 patch(J,a+"?fieldValidation=Strict",'[{"op":"add","path":"/data/d","value":"2","path":"/data/e"}]'),
 patch(J,a,'[{"op":"add","path":"/data/d","value":"2","path":"/data/e"}]'),
 patch(J,a,[{"op":"add","path":"/data/d","value":5}]),
 patch(J,a,[{"op":"add","path":"/nothing","value":5}]),
 patch(J,a+"?fieldValidation=Strict",[{"op":"add","path":"/nothing","value":5}]),
 patch(J,a+"?fieldValidation=Ignore",[{"op":"add","path":"/nothing","value":5}]),
 patch(J,a,[{"op":"replace","path":"/kind","value":"Secret"}]),
 patch(J,a,[{"op":"replace","path":"/apiVersion","value":"v2"}]),
 patch(J,a,[{"op":"remove","path":"/kind"}]),
 patch(J,a,[{"op":"replace","path":"/metadata/name","value":"b"}]),
 patch(J,a,[{"op":"replace","path":"","value":[]}]),
 patch(J,a,[{"op":"replace","path":"","value":{}}]),
 # merge patch
 patch(M,a,{"data":{"a":None,"m":"1"}},agent="two/1"),
 patch(M,a,"[]"), patch(M,a,"null"), patch(M,a,"5"), patch(M,a,"{"),
 patch(M,a+"?fieldValidation=Ignore","5"),
 patch(M,a,{"data":{"a":{}}}),
 patch(M,a,{"metadata":{"labels":{"x":1}}}),
 patch(M,a,{"nothing":1,"metadata":{"other":2}}),
 patch(M,a+"?fieldValidation=Strict",{"nothing":1,"metadata":{"other":2}}),
 patch(M,a+"?fieldValidation=Strict",'{"data":{"q":"1","q":"2"}}'),
 patch(M,a,'{"data":{"q":"1","q":"2"}}'),
 patch(M,a,{"metadata":{"name":"b"}}),
 patch(M,a,{"metadata":{"namespace":"other"}}),
 patch(M,a,{"metadata":{"uid":"other"}}),
 patch(M,a,{"metadata":{"resourceVersion":"1"}}),
 patch(M,a,{"metadata":{"resourceVersion":"x"}}),
 patch(M,a,{"kind":"Secret"}),
 patch(M,a,{"apiVersion":"apps/v1"}),
 patch(M,a,{"metadata":{"labels":{"bad key!":"1"}}}),
 patch(M,a,{"metadata":{"managedFields":[{}]}}),
 get(a),
 patch(M,CM+"/missing",{"data":{"a":"1"}}),
 patch(M,a+"?fieldValidation=Other",{"data":{"a":"1"}}),
 patch(M,a+"?fieldManager=x&force=true",{"data":{"a":"1"}}),
 patch(M,a+"?dryRun=All",{"data":{"dry":"1"}}),
 patch("application/json",a,{"data":{}}),
 patch("text/plain",a,{"data":{}}),
 dict(method="PATCH",path=a,body="{}"),
 # strategic
 patch(S,a,{"data":{"s":"1","$patch":"nothing"}}),
 patch(S,a,{"data":{"s":"1","$patch":"replace"}},agent="three/1"),
 patch(S,a,"[]"), patch(S,a,"{"), patch(S,a,"5"),
 patch(S,a+"?fieldValidation=Ignore","[]"),
 patch(S,a,{"data":{"s":5}}),
 patch(S,a,{"nothing":1}),
 patch(S,a+"?fieldValidation=Strict",{"nothing":1,"metadata":{"labels":{"a":"b"}}}),
 patch(S,a+"?fieldValidation=Strict",'{"data":{"q":"1","q":"2"}}'),
 patch(S,a,{"data":{"$retainKeys":"x"}}),
 patch(S,a,{"metadata":{"finalizers":[["x"]]}}),
 patch(S,a,{"metadata":{"ownerReferences":[{"name":"x"}]}}),
 patch(S,a,{"$setElementOrder/nothing":["x"]}),
 patch(S,a,{"metadata":{"name":"b"}}),
 get(a),
 # apply
 patch(A,CM+"/n",cm("n",{"a":"1"})),
 patch(A,CM+"/n?fieldManager=one",cm("n",{"a":"1","b":"1"})),
 patch(A,CM+"/n?fieldManager=one",cm("n",{"a":"1","b":"1"})),
 patch(A,CM+"/n?fieldManager=two",cm("n",{"a":"2"})),
 patch(A,CM+"/n?fieldManager=two&force=true",cm("n",{"a":"2"})),
 patch(A,CM+"/n?fieldManager=one",cm("n",{"b":"3"})),
 patch(A,CM+"/n?fieldManager=one",cm("n",{})),
 patch(A,CM+"/n?fieldManager=one",cm("m",{"b":"3"})),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","data":{"x":"1"}}),
 patch(A,CM+"/n?fieldManager=one",{"kind":"ConfigMap","metadata":{"name":"n"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","metadata":{"name":"n"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"Secret","metadata":{"name":"n"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"n"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","managedFields":[]}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","namespace":"other"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","uid":"x"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","resourceVersion":"1"}}),
 patch(A,CM+"/new?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"new","uid":"x"}}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"},"nothing":1}),
 patch(A,CM+"/n?fieldManager=one",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"},"data":{"a":1}}),
 patch(A,CM+"/n?fieldManager=one","{"), patch(A,CM+"/n?fieldManager=one","[]"), patch(A,CM+"/n?fieldManager=one","a: b: c"), patch(A,CM+"/n?fieldManager=one",""),
 patch(A,CM+"/n?fieldManager=one","apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: n\ndata:\n  a: '2'\n  a: '2'\n"),
 patch(A,CM+"/n?fieldManager=one&fieldValidation=Strict","apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: n\ndata:\n  a: '2'\n  a: '2'\n"),
 patch(A,CM+"/n?fieldManager=one&fieldValidation=Ignore","apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: n\ndata:\n  y: '2'\n"),
 patch(A,CM+"/n?fieldManager="+"x"*129,cm("n",{})),
 patch(A,CM+"/n?fieldManager=one&dryRun=All",cm("n",{"dry":"1"})),
 patch(A,"/api/v1/namespaces/missing/configmaps/n?fieldManager=one",cm("n",{"a":"1"})),
 get(CM+"/n"),
 delete(CM+"/n"),
 delete(CM+"/a"),
 # kubectl's client-side apply, then server-side
 post(CM+"?fieldManager=kubectl-client-side-apply",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"k","annotations":{"kubectl.kubernetes.io/last-applied-configuration":'{"apiVersion":"v1","data":{"a":"1","b":"1"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"k","namespace":"default"}}\n'}},"data":{"a":"1","b":"1"}}),
 patch(A,CM+"/k?fieldManager=kubectl",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"k","namespace":"default"},"data":{"a":"2"}}),
 patch(A,CM+"/k?fieldManager=other",{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"k","namespace":"default"},"data":{"a":"3","b":"3"}}),
 delete(CM+"/k"),
]
dep={"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","labels":{"app":"d"}},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"d"}},"template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c","image":"nginx:1","ports":[{"containerPort":80}],"env":[{"name":"A","value":"1"}]}],"volumes":[{"name":"v","emptyDir":{}}]}}}}
def without(d,*path):
    d=copy.deepcopy(d); x=d
    for p in path[:-1]: x=x[p]
    del x[path[-1]]; return d
def with_(d,value,*path):
    d=copy.deepcopy(d); x=d
    for p in path[:-1]: x=x[p]
    x[path[-1]]=value; return d
D=DEP+"/d"
R+=[
 patch(A,D+"?fieldManager=kubectl",dep),
 get(D),
 patch(S,D,{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}}}},agent="set/1"),
 patch(S,D,{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}},agent="set/1"),
 patch(S,D,{"spec":{"template":{"spec":{"containers":[{"name":"c","ports":[{"containerPort":80,"$patch":"delete"},{"containerPort":81}]}]}}}},agent="set/1"),
 patch(S,D,{"spec":{"replicas":"x"}}),
 patch(S,D,{"spec":{"replicas":-1}}),
 patch(S,D,{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}),
 patch(S,D+"?fieldValidation=Strict",{"spec":{"template":{"spec":{"containers":[{"name":"c","imagee":"x"}]}}}}),
 patch(J,D,[{"op":"replace","path":"/spec/replicas","value":"x"}]),
 patch(M,D,{"spec":{"selector":{"matchLabels":{"app":"other"}}}}),
 patch(A,D+"?fieldManager=kubectl",dep),
 patch(A,D+"?fieldManager=kubectl&force=true",without(dep,"spec","replicas")),
 patch(A,D+"?fieldManager=kubectl",with_(dep,[{"containerPort":80,"protocol":"TCP"},{"containerPort":80}],"spec","template","spec","containers",0,"ports")),
 patch(A,D+"?fieldManager=kubectl",with_(dep,"x","spec","replicas")),
 patch(A,D+"/status?fieldManager=st",{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"status":{"replicas":3}}),
 patch(M,D+"/status",{"status":{"replicas":4},"spec":{"replicas":9}},agent="ctl/1"),
 patch(M,D+"/scale",{"spec":{"replicas":5}},agent="sc/1"),
 get(D),
 delete(D),
]
# More kinds: what controllers, the kubelet and kubectl send.
SVC="/api/v1/namespaces/default/services"; POD="/api/v1/namespaces/default/pods"; NODE="/api/v1/nodes"
RBAC="/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"
svc={"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"clusterIP":"None","selector":{"app":"s"},"ports":[{"port":80,"name":"http"},{"port":53,"name":"dns","protocol":"UDP"}]}}
pod={"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"app":"p"}},"spec":{"containers":[{"name":"c","image":"nginx:1","env":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}],"automountServiceAccountToken":False}}
node={"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"a":"1"}},"spec":{"taints":[{"key":"x","effect":"NoSchedule"}]}}
role={"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]}
R+=[
 patch(A,SVC+"/s?fieldManager=one",svc),
 patch(A,SVC+"/s?fieldManager=two",{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":8080},{"port":443,"name":"https"}]}}),
 patch(A,SVC+"/s?fieldManager=two&force=true",{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":443,"name":"https"}]}}),
 patch(S,SVC+"/s",{"spec":{"ports":[{"port":53,"$patch":"delete"}]}},agent="kubectl-patch/1"),
 patch(S,SVC+"/s",{"spec":{"ports":[{"port":80,"targetPort":"web"}],"$setElementOrder/ports":[{"port":443},{"port":80}]}},agent="kubectl-patch/1"),
 patch(J,SVC+"/s",[{"op":"replace","path":"/spec/ports/0/port","value":8443}],agent="kubectl-patch/1"),
 patch(M,SVC+"/s/status",{"status":{"conditions":[{"type":"Ready","status":"True","reason":"X","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}]}},agent="lb/1"),
 patch(M,SVC+"/s",{"metadata":{"finalizers":["example.com/f"]}},agent="lb/1"),
 patch(S,SVC+"/s",{"metadata":{"finalizers":["example.com/g"]}},agent="lb/1"),
 patch(S,SVC+"/s",{"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/f","example.com/g"]}},agent="lb/1"),
 get(SVC+"/s"), delete(SVC+"/s"),
 post(POD,pod,agent="kubectl/1"),
 patch(S,POD+"/p/status",{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"False","lastTransitionTime":"2024-01-01T00:00:00Z"},{"type":"PodScheduled","status":"True","lastTransitionTime":"2024-01-01T00:00:00Z"}],"podIPs":[{"ip":"10.0.0.1"}]}},agent="kubelet/1"),
 patch(S,POD+"/p/status",{"status":{"$setElementOrder/conditions":[{"type":"Ready"},{"type":"PodScheduled"}],"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2024-01-01T00:00:01Z"}],"$setElementOrder/podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],"podIPs":[{"ip":"fd00::1"}]}},agent="kubelet/1"),
 patch(S,POD+"/p/status",{"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"R","message":"m","lastTransitionTime":"2024-01-01T00:00:02Z"}]},"spec":{"nodeName":"x"}},agent="evictor/1"),
 patch(A,POD+"/p/status?fieldManager=st",{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"status":{"message":"hello","conditions":[{"type":"Mine","status":"True"}]}}),
 patch(S,POD+"/p",{"spec":{"containers":[{"name":"c","image":"nginx:2"}]}},agent="kubectl-set/1"),
 patch(S,POD+"/p",{"spec":{"containers":[{"name":"c","env":[{"name":"A","$patch":"delete"}]}]}},agent="kubectl-set/1"),
 patch(M,POD+"/p",{"metadata":{"annotations":{"a":"b"},"labels":{"app":None,"x":"y"}}},agent="kubectl-label/1"),
 patch(A,POD+"/p?fieldManager=lab",{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"x":"z"}}}),
 patch(A,POD+"/p?fieldManager=lab",{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"x":"y","w":"1"},"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"1"}]}}),
 patch(A,POD+"/p?fieldManager=lab",{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"x":"y"}}}),
 patch(J,POD+"/p",[{"op":"test","path":"/metadata/labels/x","value":"y"},{"op":"add","path":"/metadata/labels/k","value":"v"},{"op":"copy","from":"/metadata/labels/k","path":"/metadata/labels/l"},{"op":"move","from":"/metadata/labels/l","path":"/metadata/labels/m"}],agent="json/1"),
 get(POD+"/p"),
 dict(delete(POD+"/p?gracePeriodSeconds=0"),compare="code"),
 post(NODE,node,agent="kubelet/1"),
 patch(S,NODE+"/n1/status",{"status":{"$setElementOrder/conditions":[{"type":"MemoryPressure"},{"type":"Ready"}],"conditions":[{"type":"MemoryPressure","status":"False","lastHeartbeatTime":"2024-01-01T00:00:00Z","lastTransitionTime":"2024-01-01T00:00:00Z"},{"type":"Ready","status":"True","lastHeartbeatTime":"2024-01-01T00:00:00Z","lastTransitionTime":"2024-01-01T00:00:00Z"}],"addresses":[{"type":"InternalIP","address":"10.0.0.1"},{"type":"Hostname","address":"n1"}],"capacity":{"cpu":"2","memory":"4Gi"}}},agent="kubelet/1"),
 patch(S,NODE+"/n1/status",{"status":{"$setElementOrder/addresses":[{"type":"InternalIP"},{"type":"Hostname"}],"addresses":[{"type":"InternalIP","address":"10.0.0.1"},{"type":"InternalIP","address":"10.0.0.2"},{"type":"Hostname","address":"n1"}]}},agent="kubelet/1"),
 patch(S,NODE+"/n1",{"spec":{"unschedulable":True,"taints":[{"key":"y","effect":"NoExecute"}]}},agent="kubectl-drain/1"),
 patch(S,NODE+"/n1",{"metadata":{"labels":{"a":None,"b":"2"}}},agent="kubectl-label/1"),
 get(NODE+"/n1"), delete(NODE+"/n1"),
 patch(A,RBAC+"/r?fieldManager=one",role),
 patch(A,RBAC+"/r?fieldManager=two",{**role,"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]}),
 patch(A,RBAC+"/r?fieldManager=two&force=true",{**role,"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]}),
 delete(RBAC+"/r"),
 # a PUT takes the owners that it brings
 post(CM,cm("u",{"a":"1"}),agent="maker/1"),
 put(CM+"/u",{**cm("u",{"a":"2"}),"metadata":{"name":"u","managedFields":[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{},"f:b":{}}}}]}},agent="putter/1"),
 put(CM+"/u",{**cm("u",{"a":"2","c":"3"}),"metadata":{"name":"u","managedFields":[{"manager":"x","operation":"Nothing","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{}}]}},agent="putter/1"),
 put(CM+"/u",{**cm("u",{"a":"3"}),"metadata":{"name":"u","managedFields":[{"manager":"x","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"data":{}}}]}},agent="putter/1"),
 put(CM+"/u",{**cm("u",{"a":"4"}),"metadata":{"name":"u","managedFields":[]}},agent="putter/1"),
 put(CM+"/u",{**cm("u",{"a":"5"}),"metadata":{"name":"u","managedFields":[{}]}},agent="putter/1"),
 put(CM+"/u",{**cm("u",{"a":"6"}),"metadata":{"name":"u"}},agent="putter/1"),
 patch(A,CM+"/u?fieldManager=first",cm("u",{"z":"1"})),
 delete(CM+"/u"),
 # scale by apply
 patch(A,DEP+"/e?fieldManager=one",with_(dep,"e","metadata","name")),
 patch(A,DEP+"/e/scale?fieldManager=two",{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"e"},"spec":{"replicas":7}}),
 patch(A,DEP+"/e/scale?fieldManager=two&force=true",{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"e"},"spec":{"replicas":7}}),
 put(DEP+"/e/scale",{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"e"},"spec":{"replicas":8}},agent="sc/1"),
 patch(M,DEP+"/e/scale",{"spec":{"replicas":"x"}}),
 patch(M,DEP+"/e/scale",{"spec":{"replicas":-1}}),
 get(DEP+"/e"), delete(DEP+"/e"),
]
def scrub(o):
    if isinstance(o,dict):
        m=o.get("metadata")
        if isinstance(m,dict):
            for k in ("uid","creationTimestamp","deletionTimestamp"):
                if k in m: m[k]="*"
            m.pop("resourceVersion",None)
            for e in m.get("managedFields") or []:
                if "time" in e: e["time"]="*"
    return o
# Answers show whole objects as text in places.
QUOTED=re.compile(r'(\\*"(?:uid|resourceVersion|creationTimestamp|time)\\*":\\*")[^"\\]*')
def plain(value):
    if isinstance(value,str): return QUOTED.sub(r'\1*',value)
    if isinstance(value,list): return [plain(one) for one in value]
    if isinstance(value,dict): return {key:plain(one) for key,one in value.items()}
    return value
for r in R:
    code,body,warn=send(r)
    body=scrub(body)
    if isinstance(body,dict) and body.get("kind")=="Status":
        body=plain(body)
        if body.get("details") and "uid" in body["details"]: body["details"]["uid"]="*"
    out.append(json.dumps([r,code,body,warn],separators=(",",":"),ensure_ascii=False))
open(OUTPUT,"w").write("\n".join(out)+"\n")
print(len(out))
