"""Prints every public method of Session, Device and Mesh, one a line."""

import inspect

import meshctrl

for kind in [meshctrl.Session, meshctrl.device.Device, meshctrl.mesh.Mesh]:
    for name, _ in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            print(f"{kind.__name__}.{name}")
