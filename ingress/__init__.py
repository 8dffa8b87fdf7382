"""Requests: HTTP in, routed by Ingress rules, HTTP out (L7).

Where to look:

    routes/       which backend a request goes to                       pure
    proxy/        the compiled data plane
    controller.py store -> routes -> the live table of every worker

ingress/ imports lb.cluster and lb.reconcile only; tests/test_layers.py keeps that true.
"""
