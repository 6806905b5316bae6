import t from "tap";
import { Machines, machinesUnavailable } from "./machines.ts";

const skip = machinesUnavailable() ?? false;

t.test(
  "two machines with an engine each, that can be cut off and lose power",
  { skip },
  async (t) => {
    await using machines = await Machines.start(2);
    const read = "exec 3<>/dev/tcp/10.98.0.2/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    const ping = () => machines.exec(1, ["timeout", "2", "bash", "-c", read]);
    t.match(machines.docker(1, "images").stdout, /skein-test\/web/);
    const run = machines.docker(2, "run", "-d", "--net=host", "skein-test/web:1");
    t.equal(run.status, 0, run.stderr);
    await t.resolves(machines.request([{ host: "10.98.0.2", port: 80 }], 1));
    t.match(ping(), { status: 0, stdout: /m2 1\n/ });

    machines.cut(2);
    t.not(ping().status, 0, "cut off");
    machines.heal(2);
    t.equal(ping().status, 0, "healed");

    await machines.kill(2);
    t.not(ping().status, 0, "without power");
    await machines.start(2);
    const left = machines.docker(2, "ps", "-a", "--format", "{{.Image}} {{.State}}").stdout;
    t.match(left, /skein-test\/web:1 exited/, "its disk is as it was, nothing runs");
  },
);
