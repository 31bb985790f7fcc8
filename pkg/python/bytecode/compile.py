# Compiles batches of sources, each in a process of its own that is forked from
# this one: what marshal writes depends on what else a process has interned and
# refers to, and so a batch's bytes depend on the batch and the interpreter alone.
#
# In, all numbers four bytes little-endian: the number of workers; then for each
# batch the number of its files, for each of them the length of its name and of
# its source, and then all names and sources in turn; to the end of the input.
# Out: the length of the cache tag, the tag and the magic number; then for each
# batch, in any order, its index, the lengths of its .pyc files, 0 for a source
# that does not compile, and then the files; and at the end the index END.
import sys
sys.path[:1] = []  # -c puts the working directory there
import gc, marshal, os
from importlib.util import MAGIC_NUMBER, source_hash

END = 0xffffffff
HEADER = MAGIC_NUMBER + (1).to_bytes(4, "little")  # PEP 552: by hash, unchecked
ADDRESSED = sys.version_info < (3, 11)


def number(n):
    return n.to_bytes(4, "little")


def read(n):
    b = stdin.read(n)
    if len(b) != n:
        raise EOFError("the input ends early")
    return b


def write(b):
    while b:
        b = b[os.write(1, b):]


def unsteady(code):
    # Before 3.11 a frozenset is written in the order of its hashes, and these are
    # addresses for None and Ellipsis.
    def addressed(c):
        return c is None or c is Ellipsis or (isinstance(c, tuple) and any(map(addressed, c)))
    for c in code.co_consts:
        if isinstance(c, frozenset) and len(c) > 1 and any(map(addressed, c)):
            return True
        if isinstance(c, type(code)) and unsteady(c):
            return True
    return False


def compiled(name, source):
    # As py_compile does.
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=-1)
        if ADDRESSED and unsteady(code):
            return b""
        return HEADER + source_hash(source) + marshal.dumps(code)
    except Exception:
        return b""


def batch(index, count):
    sizes = [(int.from_bytes(read(4), "little"), int.from_bytes(read(4), "little")) for _ in range(count)]
    files = [(read(name), read(source)) for name, source in sizes]
    if os.fork():
        return
    status = 1
    try:
        results = [compiled(os.fsdecode(name), source) for name, source in files]
        result = b"".join([number(index)] + [number(len(r)) for r in results] + results)
        os.read(token, 1)
        write(memoryview(result))
        os.write(untoken, b".")
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def reap():
    pid, status = os.wait()
    if status:
        os.write(2, b"a worker ended with status %d\n" % status)
        os._exit(1)  # its token may be lost, and others wait for it


sys.setrecursionlimit(1000)
gc.disable()
stdin = open(0, "rb", closefd=False)
token, untoken = os.pipe()
os.write(untoken, b".")
workers = int.from_bytes(read(4), "little") or len(os.sched_getaffinity(0))
tag = sys.implementation.cache_tag.encode()
write(number(len(tag)) + tag + MAGIC_NUMBER)
index = running = 0
while True:
    head = stdin.read(4)
    if not head:
        break
    if len(head) != 4:
        raise EOFError("the input ends early")
    if running == workers:
        reap()
        running -= 1
    batch(index, int.from_bytes(head, "little"))
    running += 1
    index += 1
while running:
    reap()
    running -= 1
write(number(END))
