"""The Container Network Interface: how a container runtime asks for a pod's network.

Where to look:

    spec.py         the protocol as values                      pure
    plugin.py       the executable the runtime calls; native/ has it in C, for agents in containers
    loopback.py     another one, for lo, where nobody has installed it
    install.py      putting it, and its configuration, onto the node
    server.py       the agent's end of the plugin's socket
    attachments.py  which container has which addresses, crash-safe
    recover.py      do the records say what the kernel has?
"""
