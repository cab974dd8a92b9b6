"""Stand-ins for systemd-nsresourced and systemd-mountfsd, which do not run where the kernel refuses their BPF programs.

They answer the two calls that mkosi-sandbox makes, over the interfaces io.systemd.NamespaceResource and
io.systemd.MountFileSystem as `varlinkctl introspect` shows them, without checking who may do what. A mount is not idmapped
but shown as it is. Arguments: the directory of the sockets. What is asked goes to standard output.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import threading

CLONE_NEWUSER = 0x10000000
NS_GET_PARENT = 0xB702
FOREIGN, DELEGATED, RANGE = 0x7FFE0000, 0x90000, 0x10000
AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, MOUNT_ATTR_RDONLY = 0x1000, 0x8000, 1, 0o2000000, 1
OPEN_TREE, MOUNT_SETATTR = 428, 442
libc = ctypes.CDLL(None, use_errno=True)


def wait(pid):
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError("a child failed")


def write_map(namespace, lines):
    """Writes the maps of a namespace from its parent: through a process that is in it."""
    ready, done = os.pipe(), os.pipe()
    inside = os.fork()
    if inside == 0:
        os.setns(namespace, CLONE_NEWUSER)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{inside}/{name}", "w") as f:
                f.write(lines)
    finally:
        os.write(done[1], b"x")
        wait(inside)


def in_parent(namespace, lines):
    parent = fcntl.ioctl(namespace, NS_GET_PARENT)
    pid = os.fork()
    if pid == 0:
        try:
            os.setns(parent, CLONE_NEWUSER)
            write_map(namespace, lines)
        except BaseException as e:
            print(e, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    wait(pid)


def allocate(p, fds, user):
    namespace = fds[p["userNamespaceFileDescriptor"]]
    if p.get("type") == "managed":
        in_parent(namespace, f"{p.get('target', 0)} {DELEGATED} {p['size']}\n")
    else:
        lines = f"{p.get('target', user)} {user} 1\n"
        for i in range(p.get("delegateContainerRanges") or 0):
            lines += f"{DELEGATED + i * RANGE} {DELEGATED + i * RANGE} {RANGE}\n"
        if p.get("mapForeign"):
            lines += f"{FOREIGN} {FOREIGN} {RANGE}\n"
        write_map(namespace, lines)
    return {"name": p["name"]}, []


def mount_directory(p, fds, user):
    tree = libc.syscall(OPEN_TREE, fds[p["directoryFileDescriptor"]], b"", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)
    if tree < 0:
        raise OSError(ctypes.get_errno(), "open_tree")
    os.fstat(fds[p["userNamespaceFileDescriptor"]])
    if p["mode"] != "foreign":
        raise ValueError(p["mode"])
    if p.get("readOnly"):
        attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
        libc.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, attributes, len(attributes))
    return {"mountFileDescriptor": 0}, [tree]


METHODS = {
    "io.systemd.NamespaceResource.AllocateUserRange": allocate,
    "io.systemd.MountFileSystem.MountDirectory": mount_directory,
}


def handle(connection):
    user = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    data, fds = b"", []
    while True:
        part, files, _, _ = socket.recv_fds(connection, 1 << 16, 16)
        if not part:
            return
        data, fds = data + part, fds + files
        if not data.endswith(b"\0"):
            continue
        message = json.loads(data[:-1])
        print(json.dumps(message), flush=True)
        try:
            reply, out = METHODS[message["method"]](message["parameters"], fds, user)
            answer = {"parameters": reply}
        except Exception as e:
            print(repr(e), flush=True)
            answer, out = {"error": "org.varlink.service.MethodNotImplemented", "parameters": {}}, []
        socket.send_fds(connection, [json.dumps(answer).encode() + b"\0"], out)
        data, fds = b"", []


def serve(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen()
    while True:
        threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()


threads = [
    threading.Thread(target=serve, args=(os.path.join(sys.argv[1], name),))
    for name in ("io.systemd.NamespaceResource", "io.systemd.MountFileSystem")
]
for t in threads:
    t.start()
for t in threads:
    t.join()
