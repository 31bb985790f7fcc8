# Calls a hook of a build back-end (PEP 517, PEP 660) in the working directory, and
# writes what came of it to result.json.
import importlib
import json
import os
import sys
import traceback


class Refused(Exception):
    pass


def inside(path, directory):
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def load(backend, backend_path):
    # PEP 517, "Source trees": backend-path.
    top = os.path.realpath(os.getcwd())
    paths = [os.path.realpath(os.path.join(top, p)) for p in backend_path]
    for p, full in zip(backend_path, paths):
        if not inside(full, top):
            raise Refused("backend-path %r leads out of the source tree" % p)
    sys.path[:0] = paths
    name, _, attributes = backend.partition(":")
    found = importlib.import_module(name)
    if paths:
        file = getattr(found, "__file__", None)
        if not file or not any(inside(os.path.realpath(file), p) for p in paths):
            raise Refused("the back-end %s is not in its backend-path" % name)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def metadata(backend, settings, out):
    hook = getattr(backend, "prepare_metadata_for_build_wheel", None)
    if hook:
        name = hook(out, settings)
        return {"file": os.path.join(name, "METADATA")}
    import zipfile
    name = backend.build_wheel(out, settings)
    with zipfile.ZipFile(os.path.join(out, name)) as z:
        for member in z.namelist():
            if member.count("/") == 1 and member.endswith(".dist-info/METADATA"):
                z.extract(member, out)
                return {"file": member}
    raise Refused("its wheel has no METADATA")


def listing(directory):
    found = {}
    for folder, directories, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            found[os.path.relpath(path, directory)] = st.st_mode, st.st_size, st.st_mtime_ns
    return found


def leftover(path):
    """Says whether a file that a build leaves is of no use to what is installed."""
    folders = path.split(os.sep)[:-1]
    if folders[:1] == ["build"]:
        return not folders[1:2] or not folders[1].startswith("__editable__")  # setuptools, strict mode
    return any(f.endswith(".egg-info") or f == "__pycache__" for f in folders)


def build_editable(hook, settings, request, out):
    before = listing(request["source"])
    made = hook(out, settings)
    after = listing(request["source"])
    written = sorted(p for p in after if before.get(p) != after[p] and not leftover(p))
    if written:
        raise Refused("it writes %s into the source tree, which is not kept" % ", ".join(written[:3]))
    return made


def call(backend, request, out):
    settings = request["settings"] or None
    name = request["hook"]
    if name == "metadata":
        return metadata(backend, settings, out)
    hook = getattr(backend, name, None)
    if name.startswith("get_requires_"):
        return {"requires": [str(r) for r in hook(settings)] if hook else []}  # PEP 517: optional
    if hook is None:
        raise Refused("the back-end has no hook " + name)
    made = build_editable(hook, settings, request, out) if name == "build_editable" else hook(out, settings)
    if not isinstance(made, str) or os.path.basename(made) != made:
        raise Refused("%s returned %r, which is no file name" % (name, made))
    return {"file": made, "filename": made}


def main(directory):
    with open(os.path.join(directory, "request.json")) as f:
        request = json.load(f)
    stage = "import"
    try:
        backend = load(request["backend"], request["backend_path"])
        stage = request["hook"]
        result = call(backend, request, os.path.join(os.path.dirname(directory), "out"))
        result["stage"] = stage
    except Refused as e:
        result = {"stage": stage, "error": str(e)}
    except BaseException as e:  # SystemExit of a setup.py, too
        traceback.print_exc()
        text = traceback.format_exception_only(type(e), e)[-1].strip()
        result = {"stage": stage, "error": text, "module": getattr(e, "name", None) if isinstance(e, ImportError) else None}
    part = os.path.join(directory, "result.part")
    with open(part, "w", encoding="utf-8") as f:
        json.dump(result, f)
    os.rename(part, os.path.join(directory, "result.json"))


if __name__ == "__main__":
    sys.path[:1] = []  # this script's directory
    main(sys.argv[1])
