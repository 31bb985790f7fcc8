# Lays out what comes on standard input, runs hook.py in it, and answers on
# standard output. All numbers are little-endian.
#
# In: the length of a JSON object (four bytes) and that object, then entries: a
# kind (f, d, l; e for the end), the mode, the lengths of path and link (four bytes
# each) and of the content (eight), and then path, link and content. Paths are
# absolute. Out: the length of a JSON object and that object; it has "size" where
# so many bytes follow.
import json, os, shutil, struct, subprocess, sys

ENTRY = struct.Struct("<cIIIQ")
stdin = open(0, "rb", closefd=False)


def read(n):
    b = stdin.read(n)
    if len(b) != n:
        raise EOFError("the input ends early")
    return b


def unpack(time):
    directories = []
    while True:
        kind, mode, path, link, size = ENTRY.unpack(read(ENTRY.size))
        if kind == b"e":
            break
        path, link = read(path), read(link)
        if kind == b"d":
            os.makedirs(path, 0o755, exist_ok=True)
            directories.append((path, mode))
            continue
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        if kind == b"l":
            os.symlink(link, path)
            continue
        with open(path, "xb") as f:
            while size:
                b = read(min(size, 1 << 20))
                f.write(b)
                size -= len(b)
        os.chmod(path, mode)
        os.utime(path, (time, time))
    for path, mode in reversed(directories):
        os.chmod(path, mode)
        os.utime(path, (time, time))


def clear(directory):
    # The image's own files where the source is to lie are not the project's.
    if os.path.isdir(directory) and not os.path.islink(directory):
        shutil.rmtree(directory)
    elif os.path.lexists(directory):
        os.unlink(directory)


def make_environment(env):
    # A virtual environment is a link and a file (PEP 405).
    base = getattr(sys, "_base_executable", None) or sys.executable
    os.makedirs(env + "/bin", exist_ok=True)
    for name in ("python", "python3", "python%d.%d" % sys.version_info[:2]):
        if not os.path.lexists(env + "/bin/" + name):
            os.symlink(base, env + "/bin/" + name)
    with open(env + "/pyvenv.cfg", "w") as f:
        f.write("home = %s\ninclude-system-site-packages = false\nversion = %d.%d.%d\n"
                % ((os.path.dirname(base),) + sys.version_info[:3]))


def answer(object, content=b""):
    b = json.dumps(object).encode()
    out = open(1, "wb", closefd=False)
    out.write(len(b).to_bytes(4, "little") + b)
    if content:
        while True:
            b = content.read(1 << 20)
            if not b:
                break
            out.write(b)
    out.flush()


def main():
    os.umask(0o022)
    request = json.loads(read(int.from_bytes(read(4), "little")))
    top = request["dir"]
    os.makedirs(top)
    for name in ("env", "out", "tmp", "home", "run"):
        os.mkdir(top + "/" + name)
    clear(request["source"])
    os.makedirs(request["source"])
    unpack(request["time"])
    make_environment(top + "/env")
    with open(top + "/run/hook.py", "w", encoding="utf-8") as f:
        f.write(request["script"])
    with open(top + "/run/request.json", "w") as f:
        json.dump(request, f)
    done = subprocess.run(
        [top + "/env/bin/python", top + "/run/hook.py", top + "/run"], cwd=request["cwd"],
        env=dict(e.split("=", 1) for e in request["env"]), stdin=subprocess.DEVNULL, stdout=2, stderr=2)
    try:
        with open(top + "/run/result.json", encoding="utf-8") as f:
            result = json.load(f)
    except (OSError, ValueError):
        code = done.returncode
        how = "was ended by signal %d" % -code if code < 0 else "ended with status %d" % code
        answer({"stage": "run", "error": "the build back-end " + how})
        return
    if "file" not in result:
        answer(result)
        return
    path = os.path.join(top, "out", result.pop("file"))
    try:
        content = open(path, "rb")
    except OSError as e:
        answer({"stage": result["stage"], "error": "it made no file %s: %s" % (os.path.basename(path), e.strerror)})
        return
    with content:
        result["size"] = os.fstat(content.fileno()).st_size
        answer(result, content)


main()
