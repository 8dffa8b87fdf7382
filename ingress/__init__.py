"""Requests: HTTP in, routed by Ingress rules, HTTP out (L7).

Where to look:

    routes/         what to do with a request: Ingress rules -> tables                 pure
    proxy/          the data plane, compiled; one engine in each worker process
    controller.py   store -> tables -> workers
    supervisor.py   keeps the worker processes alive; wire.py is what they say to each other
    worker.py       one worker process
    listeners.py    the addresses we listen on
    run.py          all of it together, from start to drained stop
    publish.py      where we can be reached -> Ingress status
    observe/        health, metrics and the live routes for an operator
    cli.py          causeway serve, ingress, check

ingress/ imports lb.cluster, lb.reconcile and lb.endpoints only; tests/test_layers.py keeps that true.
"""
