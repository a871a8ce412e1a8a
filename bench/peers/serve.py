"""What the peers share: a loop that reads calls as JSON lines from standard input and answers on standard output.

A peer's script imports what it needs through `need`, defines functions that return seconds (or other plain values), and ends with
`serve(functions)`. Where a package is missing the benchmark runs without its peer: without all of them if it is one that `need` names, without
those functions that are None if it is one that `found` names.
"""
import importlib
import json
import sys


def need(*names):
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            print(json.dumps({"missing": str(error)}))
            sys.exit(0)
    return modules if len(modules) > 1 else modules[0]


def found(name):
    """The module, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def serve(functions, *modules):
    functions, modules = ([one for one in some if one is not None] for some in (functions, modules))
    versions = ["python " + sys.version.split()[0]] + [f"{module.__name__} {module.__version__}" for module in modules]
    print(json.dumps({"versions": ", ".join(versions), "calls": [function.__name__ for function in functions]}))
    table = {function.__name__: function for function in functions}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": table[request["call"]](**request["args"])}
        except Exception as error:  # the benchmark decides what to do about it
            reply = {"error": repr(error)}
        print(json.dumps(reply))
