
2.0

Kubernetesv1.37.2B”‘
#/api/v1/namespaces/{namespace}/podséß	list pods*listCoreV1NamespacedPodB*
(&$queryhow many"limit2integer J&
$
200

OK

#/definitions/Podj
x-kubernetes-actionlist
jE
x-kubernetes-group-version-kind" group: ""
kind: Pod
version: v1
"_*createCoreV1NamespacedPodB'
%
#bodybody *
#/definitions/PodJ

401

UnauthorizedJ$
" "path"	namespace*string˜Jç
¹
Pod±"$Pod is a "collection" of containers.šspecškind²
objectÊ 
%
countint32"=*3
²	
integer
%
labelsª
²
string²
object
?
policy5*	Always
¢	Always
¢Never
¢""
²
string
Ž
ports„²
arrayº

#/definitions/Portú;
x-kubernetes-list-map-keys- containerPort
- protocol
ú 
x-kubernetes-list-typemap
úK
x-kubernetes-group-version-kind(&- group: ""
  kind: Pod
  version: v1

)
Port!²
objectÂ
#/definitions/Pod