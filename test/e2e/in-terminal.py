"""Runs a command in a terminal and plays a person: steps are JSON in argv[1], the command follows.

Each step waits until the output since the step before fits "after" (a regular expression), then
sets the terminal's size ("resize": [columns, rows]) or types ("keys"). Prints all the output, and
exits with the command's status.
"""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

steps = json.loads(sys.argv[1])


def resize(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


child, fd = pty.fork()
if child == 0:
    resize(0, 80, 24)
    os.execvp(sys.argv[2], sys.argv[2:])

seen = ""
deadline = time.monotonic() + 60
while True:
    readable, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
    if not readable:
        os.kill(child, signal.SIGKILL)
        print(f"\nnothing more came before: {steps[:1]} after {seen!r}", file=sys.stderr)
        break
    try:
        chunk = os.read(fd, 65536)
    except OSError:
        break
    if not chunk:
        break
    seen += chunk.decode("utf8", "replace")
    # Shells draw their line anew, and ask their terminal where the cursor is.
    seen = re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", seen)
    while steps and re.search(steps[0]["after"], seen):
        step = steps.pop(0)
        sys.stdout.write(seen)
        seen = ""
        if "resize" in step:
            resize(fd, *step["resize"])
        if "keys" in step:
            os.write(fd, step["keys"].encode())
sys.stdout.write(seen)
sys.stdout.flush()
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
