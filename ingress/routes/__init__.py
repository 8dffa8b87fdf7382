"""What to do with a request. Pure: no socket, file, clock or log in here; tests/test_layers.py keeps that true.

Where to look:

    model.py         Route, HostTable, Backend, Certificate: what everything compiles to
    classes.py       is this Ingress ours?
    rules.py         one Ingress -> what it claims: paths of hosts, certificates
    backends.py      a Service port -> its endpoints, or the reason why there are none
    certificates.py  a Secret -> a certificate and its key, or what is wrong with it
    annotations/     annotations -> what an Ingress wishes, one module for each group
    treatment.py     wishes -> what the routes of the Ingress get
    config.py        the controller's ConfigMap -> defaults of annotations, settings of the engines
    hosts.py         everybody who claims a host -> its table
    tables.py        the live tables, and what depends on which object
    compile.py       the store -> the live tables, at the cost of what has changed
    explain.py       why a request goes where it goes
"""
