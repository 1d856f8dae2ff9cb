"""What can be made to fail: disks, processes, system calls, clocks."""

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

# FS_IOC_SHUTDOWN with FSOP_GOING_FLAGS_NOLOGFLUSH: the file system stops at once and writes nothing more, not even its
# journal. What was not synced is gone when it is mounted again (xfstests tests file systems with it).
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
WRITE_NOW = 7  # SYNC_FILE_RANGE_WAIT_BEFORE | WRITE | WAIT_AFTER
PIECE = 16 << 10
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


def command(*words):
    return subprocess.run([str(word) for word in words], check=True, text=True, capture_output=True).stdout


def until(limit, what, holds, every=0.1):
    """For what the kernel tells nobody about."""
    end, found = time.monotonic() + limit, holds()
    while not found:
        if time.monotonic() > end:
            raise TimeoutError(f"gave up waiting for {what} after {limit} s")
        time.sleep(every)
        found = holds()
    return found


class Disk:
    """An ext4 of its own in a file, that can lose its power and be full."""

    def __init__(self, directory, name, megabytes):
        self.image, self.path = directory / f"{name}.img", directory / name
        self.path.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self.mount()

    def mount(self):
        command("mount", "-o", "loop", self.image, self.path)

    def sync(self):
        command("sync", "-f", self.path)

    def cut_power(self, chance, wrote=()):
        """Of what was written to `wrote` and not synced, some reaches the medium all the same."""
        for path in wrote:
            with open(path, "rb") as file:
                for offset in range(0, os.fstat(file.fileno()).st_size, PIECE):
                    if chance.random() < 0.3:
                        libc.sync_file_range(file.fileno(), offset, PIECE, WRITE_NOW)
        directory = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(directory)
        below = [line.split()[1] for line in open("/proc/mounts") if line.split()[1].startswith(f"{self.path}/")]
        for path in sorted(below, key=len, reverse=True):
            command("umount", "--lazy", path)
        command("umount", self.path)
        self.mount()

    def fill(self):
        """Takes all the room there is, and returns the file that takes it."""
        path = self.path / "filler"
        free = os.statvfs(self.path)
        with open(path, "wb") as file:
            left = free.f_bavail * free.f_frsize
            while left >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, 2), left)
                    file.seek(0, 2)
                except OSError:
                    left //= 2
        return path


class Process:
    """A program that is killed and started again."""

    def __init__(self, log, argv, env=None, inside=None):
        self.log, self.env = log, {**os.environ, **(env or {})}
        enter = ["nsenter", f"--net=/proc/{inside.pid}/ns/net"] if inside else []
        self.argv, self.running = [*enter, *map(str, argv)], None

    def start(self):
        with open(self.log, "ab") as log:
            self.running = subprocess.Popen(self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def pid(self):
        return self.running.pid

    def kill(self):
        self.running.kill()  # does nothing to what has ended
        self.running.wait()

    def end(self, limit):
        """Asks it to end and returns its exit code."""
        self.running.terminate()
        return self.running.wait(limit)

    def thread(self, name):
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return next(int(task.name) for task in tasks if (task / "comm").read_text().strip() == name)


class Injection:
    """`strace` on one thread or a whole process: makes system calls fail, wait, or be the last."""

    def __init__(self, thread, calls, action, whole_process=False):
        follow = ["-f"] if whole_process else []
        argv = ["strace", *follow, "-p", str(thread), "-e", f"trace={calls}", "-e", f"inject={calls}:{action}"]
        self.strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines, self.told = [], threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.strace.stderr:
            with self.told:
                self.lines.append(line)
                self.told.notify_all()

    def wait(self, mark, count, limit):
        """Until it has told that often of `mark`: INJECTED, DELAYED."""
        with self.told:
            seen = lambda: sum(mark in line for line in self.lines) >= count
            if not self.told.wait_for(seen, limit):
                raise TimeoutError(f"no {mark} within {limit} s: {self.lines[-3:]}")

    def end(self):
        if self.strace.poll() is None:
            self.strace.send_signal(signal.SIGINT)
        self.strace.wait()


class Clock:
    """The wall clock of processes that are started with it; the time that has passed stays right."""

    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, seconds):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.path)

    @property
    def env(self):
        if not os.path.exists(FAKETIME):
            raise FileNotFoundError("libfaketime is missing (scripts/install test)")
        return {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
