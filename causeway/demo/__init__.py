"""A whole cluster on one machine, in network namespaces, to look at and to try.

layout.py      names, addresses and paths                                   pure
topology.py    internet, router, nodes: the `ip` lines that make them        pure
workloads.py   Deployments -> pods wanted, and where they run                 pure
slices.py      Services and pods -> EndpointSlices                            pure
expect.py      what the answer to each question must look like                pure
netns.py       sockets and commands inside a namespace
processes.py   the programs of the demo, and finding what an earlier run left
run_folder.py  /run/causeway-demo: one demo at a time, nothing left behind
sandbox.py     one pod: namespace, CNI plugin, containers, readiness
control.py     what the control plane and the kubelets would do, as small as is honest
cluster.py     all of it together, started and stopped
questions.py   the requests that are really sent, one by one
trials.py      scaling under load, and a node that stops
load.py        many requests, and how many failed
show.py        what is printed
cli.py         `causeway demo`
echo.py        the program in the pods
"""
