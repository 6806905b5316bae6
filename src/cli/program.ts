import { Command, CommanderError } from "commander";
import { codeOf, messageOf } from "../kernel/index.ts";
import { CliError } from "./cli-error.ts";
import { exitCode, exitCodeOf } from "./exit-code.ts";
import type { Session } from "./session.ts";

type Shared = {
  readonly host?: string;
  readonly tokenFile?: string;
  readonly output?: string;
  readonly json?: boolean;
  readonly namespace?: string;
};

// Loaded when its command runs: a start costs only what it uses.
const load = {
  backup: () => import("./commands/backup.ts"),
  change: () => import("./commands/change.ts"),
  doctor: () => import("./commands/doctor.ts"),
  down: () => import("./commands/down.ts"),
  events: () => import("./commands/events.ts"),
  exec: () => import("./commands/exec.ts"),
  jobs: () => import("./commands/jobs.ts"),
  manifest: () => import("./commands/manifest.ts"),
  namespace: () => import("./commands/namespace.ts"),
  node: () => import("./commands/node.ts"),
  past: () => import("./commands/past.ts"),
  plan: () => import("./commands/plan.ts"),
  planning: () => import("./commands/planning.ts"),
  promote: () => import("./commands/promote.ts"),
  queue: () => import("./commands/queue.ts"),
  recover: () => import("./commands/recover.ts"),
  rollout: () => import("./commands/rollout.ts"),
  run: () => import("./commands/run.ts"),
  see: () => import("./commands/see.ts"),
  token: () => import("./commands/token.ts"),
  up: () => import("./commands/up.ts"),
  voters: () => import("./commands/voters.ts"),
};

/** The command line with every client command. `daemon` is added by the entry point. */
export function makeProgram(version: string): Command {
  const program = new Command("skein")
    .description("A container orchestrator without a master: every machine runs the same daemon.")
    .version(version, "-V, --version")
    .exitOverride()
    .showSuggestionAfterError(true);
  // They stand before the command's name or behind it, as people know it from docker and kubectl.
  addClientOptions(program);
  addSeeing(program);
  addRunning(program);
  addChanging(program);
  addManifests(program);
  addExplaining(program);
  addRollouts(program);
  addPromotion(program);
  addJobs(program);
  addKeeping(program);
  shared(program.command("version").description("show the version of this command"), () =>
    Promise.resolve(process.stdout.write(`skein ${version} (node ${process.versions.node})\n`)),
  );
  return program;
}

function addSeeing(program: Command): void {
  client(program.command("status").description("how the cluster is"), async (session) =>
    (await load.see()).status(session),
  );
  const node = program.command("node").description("machines of the cluster").exitOverride();
  client(node.command("ls").description("list the machines"), async (session) =>
    (await load.see()).listNodes(session),
  );
  client(
    node
      .command("rm")
      .description("remove machines for good; they can return only with a new token")
      .argument("<NODE...>")
      .option("--force", "also one that is gone, or still has tasks: they start elsewhere"),
    async (session, [names], options) =>
      (await load.change()).removeNodes(session, Array.isArray(names) ? names : [], options),
  );
  addNodeCommands(node);
  client(
    program.command("doctor").description("test the machines and the links between them"),
    async (session) => (await load.doctor()).doctor(session),
  );
  client(program.command("ls").description("list services"), async (session) =>
    (await load.see()).listServices(session),
  );
  client(
    program.command("ps").description("list tasks").argument("[SERVICE]"),
    async (session, [service]) => (await load.see()).listTasks(session, text(service)),
  );
  client(
    program
      .command("logs")
      .description("show what the tasks of a service print")
      .argument("<SERVICE>")
      .option("-f, --follow", "go on as more is printed")
      .option("--tail <N>", "only the last N lines of each task")
      .option("-c, --container <NAME>", "of a pod: this container, not its main one"),
    async (session, [service], options) =>
      (await load.see()).logs(session, String(service), options),
  );
  client(
    program
      .command("events")
      .description("what happened in the cluster, and why")
      .argument("[OBJECT...]", "a service, a task such as web.2, or node/NAME")
      .option("-f, --follow", "go on as more happens")
      .option("--since <DURATION>", "not older than this, such as 2h")
      .option("--reason <REASON>", "only of this reason; may be given several times", collect)
      .option("--type <TYPE>", "only Normal or only Warning")
      .option("--tail <N>", "only the newest N")
      .option("-A, --all-namespaces", "of all namespaces, whatever SKEIN_NAMESPACE says"),
    async (session, [objects], options) =>
      (await load.events()).events(session, Array.isArray(objects) ? objects : [], options),
  );
}

/** What joins a terminal with a container. */
function addRunning(program: Command): void {
  // What follows the service belongs to the command, also where it looks like a flag.
  program.enablePositionalOptions();
  client(
    program
      .command("exec")
      .description("run a command in a container of a service, wherever it runs")
      .passThroughOptions()
      .argument("<SERVICE[/TASK]>", "its first task that runs, or web.3, web/3, web/ID")
      .argument("<COMMAND...>")
      .option("-i, --interactive", "pass on what is typed or piped in here")
      .option("-t, --tty", "give it a terminal")
      .option("-e, --env <NAME[=VALUE]>", "set a variable; may be given several times", collect)
      .option("-w, --workdir <DIR>", "the folder to run it in")
      .option("-u, --user <USER[:GROUP]>", "the user to run it as")
      .option("-c, --container <NAME>", "which container of the task"),
    async (session, [name, command], options) =>
      (await load.exec()).exec(
        session,
        String(name),
        Array.isArray(command) ? command : [],
        options,
      ),
  );
  client(
    program
      .command("run")
      .description("run an image once, with this terminal; with -d in the background")
      .passThroughOptions()
      .argument("<IMAGE>")
      .argument("[COMMAND...]")
      .option("-d, --detach", "print its name once it runs")
      .option("--rm", "remove it after it has ended, whether this client is there or not")
      .option("-i, --interactive", "pass on what is typed or piped in here")
      .option("-t, --tty", "give it a terminal")
      .option("--name <NAME>", "the service's name; default: made from the image's")
      .option("-e, --env <NAME[=VALUE]>", "set a variable; may be given several times", collect)
      .option("--env-file <FILE>", "variables from a file", collect)
      .option("-v, --volume <VOLUME:PATH>", "a volume, or a folder of the machine", collect)
      .option("-p, --publish <PORT:PORT>", "a port that answers on every node", collect)
      .option("-w, --workdir <DIR>", "the folder to run it in")
      .option("-u, --user <USER[:GROUP]>", "the user to run it as")
      .option("--entrypoint <PROGRAM>", "what to run instead of the image's own")
      .option("--cpus <N>", "processors that it gets and may use")
      .option("-m, --memory <SIZE>", "memory that it gets and may use, such as 256m")
      .option("--constraint <RULE>", "where it may run, such as node.hostname==n1", collect)
      .option("--restart <POLICY>", "no, on-failure[:N], always or unless-stopped", "no"),
    async (session, [image, command], options) =>
      (await load.run()).run(
        session,
        String(image),
        Array.isArray(command) ? command : [],
        options,
      ),
  );
}

function addNodeCommands(node: Command): void {
  client(
    node.command("inspect").description("show all that is known of a machine").argument("<NODE>"),
    async (session, [name]) => (await load.node()).inspectNode(session, String(name)),
  );
  client(
    node
      .command("label")
      .description("give a machine labels for placement, or take them away")
      .argument("<NODE>")
      .argument("<NAME=VALUE|NAME-...>"),
    async (session, [name, changes]) =>
      (await load.node()).labelNode(session, String(name), Array.isArray(changes) ? changes : []),
  );
  client(
    node
      .command("drain")
      .description("move everything off a machine and give it no work")
      .argument("<NODE>")
      .option("--wait <DURATION>", "give up waiting after this long; the drain goes on")
      .option("-d, --detach", "return when it is agreed"),
    async (session, [name], options) =>
      (await load.node()).drainNode(session, String(name), options),
  );
  client(
    node.command("resume").description("give a drained machine work again").argument("<NODE>"),
    async (session, [name]) => (await load.node()).resumeNode(session, String(name)),
  );
}

function addChanging(program: Command): void {
  client(
    files(program.command("up").description("run what a Compose file describes"))
      .option("-d, --detach", "return when it is accepted")
      .option("--dry-run", "only show what would change")
      .option(...noQueue),
    async (session, _, options) => (await load.up()).up(session, options),
  );
  client(
    files(
      program
        .command("down")
        .description("remove the services of the Compose file; with -n alone, a whole namespace"),
    ).option(...noQueue),
    async (session, _, options) => (await load.down()).down(session, options),
  );
  client(
    program
      .command("scale")
      .description("change the number of replicas")
      .argument("<SERVICE=N...>")
      .option("-d, --detach", "return when it is accepted")
      .option(...noQueue),
    async (session, [pairs], options) =>
      (await load.change()).scale(session, Array.isArray(pairs) ? pairs : [], options),
  );
  addSteering(program);
  client(
    program
      .command("rm")
      .description("remove services")
      .argument("<SERVICE...>")
      .option(...noQueue),
    async (session, [names], options) =>
      (await load.change()).remove(session, Array.isArray(names) ? names : [], options),
  );
  addQueue(program);
  addNamespaces(program);
  const token = program.command("token").description("who may join or use the API").exitOverride();
  client(
    token
      .command("create")
      .description("make a token that admits a machine, or a client")
      .option("--role <ROLE>", "node: joins machines; admin: uses the API from elsewhere", "node")
      .option("--ttl <DURATION>", "how long it is valid", "24h")
      .option("--uses <N>", "how many machines it may admit"),
    async (session, _, options) => (await load.token()).createToken(session, options),
  );
  client(token.command("ls").description("list the tokens, not their secrets"), async (session) =>
    (await load.token()).listTokens(session),
  );
  client(
    token
      .command("revoke")
      .description("make tokens worthless at once; who has joined with them stays")
      .argument("<ID...>"),
    async (session, [ids]) =>
      (await load.token()).revokeTokens(session, Array.isArray(ids) ? ids : []),
  );
}

const noQueue = [
  "--no-queue",
  "fail where there is no quorum, instead of waiting for one",
] as const;

function addNamespaces(program: Command): void {
  const namespace = program
    .command("ns")
    .description("namespaces, and what they may have")
    .exitOverride();
  client(namespace.command("ls").description("list them"), async (session) =>
    (await load.namespace()).listNamespaces(session),
  );
  client(
    namespace
      .command("quota")
      .description("show or set how much a namespace may have; takes the place of what was set")
      .argument("<NAMESPACE>")
      .option("--cpus <N>", "CPUs that its tasks reserve together")
      .option("--memory <SIZE>", "memory that they reserve, such as 8g")
      .option("--tasks <N>", "how many tasks")
      .option("--services <N>", "how many services")
      .option("--none", "no limits any more"),
    async (session, [name], options) =>
      (await load.namespace()).namespaceQuota(session, String(name), options),
  );
  client(
    namespace
      .command("rm")
      .description("remove all that is in a namespace, on every machine; data of volumes stays")
      .argument("<NAMESPACE>")
      .option(...noQueue),
    async (session, [name], options) =>
      (await load.namespace()).removeNamespace(session, String(name), options),
  );
}

/** Changes that wait for a quorum. */
function addQueue(program: Command): void {
  const queue = program
    .command("queue")
    .description("changes that wait on a node for a quorum")
    .exitOverride();
  client(queue.command("ls").description("list them"), async (session) =>
    (await load.queue()).listQueue(session),
  );
  client(
    queue.command("cancel").description("take changes back").argument("<NUMBER...>"),
    async (session, [numbers]) =>
      (await load.queue()).cancelQueued(session, Array.isArray(numbers) ? numbers : []),
  );
  client(
    queue
      .command("apply")
      .description("make a refused change, also over what others have changed since")
      .argument("<NUMBER>"),
    async (session, [number]) => (await load.queue()).applyQueued(session, String(number)),
  );
}

/** What is about manifests; only `export` asks a daemon. */
function addManifests(program: Command): void {
  client(
    files(program.command("config").description("show what the Compose files say together"))
      .option("--format <FORM>", "yaml or json")
      .option("-q, --quiet", "only check")
      .option("--services", "only the names of the services")
      .option("--images", "only the images")
      .option("--schema", "the JSON Schema of a manifest, for editors"),
    async (session, _, options) => (await load.manifest()).config(session, options),
  );
  client(
    files(program.command("lint").description("warn of what is allowed, but rarely meant")).option(
      "--strict",
      "end with status 1 where there is a warning",
    ),
    async (session, _, options) => (await load.manifest()).lint(session, options),
  );
  client(
    program
      .command("export")
      .description("show the Compose file of what runs in a namespace")
      .argument("[NAMESPACE]")
      .option("--format <FORM>", "yaml or json"),
    async (session, [namespace], options) =>
      (await load.manifest()).exportManifest(session, text(namespace), options),
  );
}

/** The flags of all commands that read manifests. */
function files(command: Command): Command {
  return command
    .option("-f, --file <FILE>", "the Compose file; may be given several times", collect)
    .option("--env-file <FILE>", "variables for it, instead of those in .env", collect)
    .option("--profile <NAME>", "run also the services of this profile; * for all", collect)
    .option("--allow-ignored", "list keys that have no effect yet instead of refusing them");
}

/** What changes nothing of a service's description. */
function addSteering(program: Command): void {
  const actions = [
    ["restart", "replace the containers of services by new ones, as an update does"],
    ["stop", "stop services, which stay known and can be started again"],
    ["start", "start services that were stopped"],
  ] as const;
  for (const [action, description] of actions) {
    client(
      program
        .command(action)
        .description(description)
        .argument("<SERVICE...>")
        .option("-d, --detach", "return when it is accepted")
        .option(...noQueue),
      async (session, [names], options) =>
        (await load.change()).steer(session, action, Array.isArray(names) ? names : [], options),
    );
  }
}

/** What was decided and why, what would be, and the way back. */
function addExplaining(program: Command): void {
  client(
    program
      .command("why")
      .description("why tasks are where they are, or wait")
      .argument("<SERVICE[.SLOT]>")
      .option("--at <TIME>", "as it was then: RFC 3339, 14:05, or -10m"),
    async (session, [name], { at }) =>
      at === undefined
        ? (await load.planning()).why(session, String(name))
        : (await load.past()).whyThen(session, String(name), String(at)),
  );
  client(
    files(
      program
        .command("plan")
        .description("what a Compose file, or an event, would change; changes nothing"),
    )
      .option("--kill <NODE>", "suppose that a node fails for good", collect)
      .option("--add-node <SIZE>", "suppose another machine, such as 4cpu/8g", collect)
      .option("--scale <SERVICE=N>", "suppose another number of replicas", collect)
      .option("--exit-code", "exit with 10 when something would change"),
    async (session, _, options) => (await load.plan()).plan(session, options),
  );
  client(
    program.command("history").description("the revisions of a service").argument("<SERVICE>"),
    async (session, [name]) => (await load.planning()).history(session, String(name)),
  );
  client(
    program
      .command("rollback")
      .description("bring an earlier revision back")
      .argument("<SERVICE>")
      .option("--to <REV>", "the revision; default: the one before")
      .option("-d, --detach", "return when it is accepted")
      .option(...noQueue),
    async (session, [name], options) =>
      (await load.planning()).rollBack(session, String(name), options),
  );
}

/** The way of a new revision to all replicas. */
function addRollouts(program: Command): void {
  const rollout = program.command("rollout").description("updates under way").exitOverride();
  client(
    rollout
      .command("pause")
      .description("halt an update: old and new tasks stay as they are")
      .argument("<SERVICE>"),
    async (session, [name]) => (await load.rollout()).pauseRollout(session, String(name)),
  );
  client(
    rollout
      .command("resume")
      .description("let an update that was paused go on")
      .argument("<SERVICE>")
      .option("-d, --detach", "return when it is accepted"),
    async (session, [name], options) =>
      (await load.rollout()).resumeRollout(session, String(name), options),
  );
}

function addPromotion(program: Command): void {
  client(
    program
      .command("promote")
      .description("run in another namespace what runs in this one, to the digest")
      .argument("<SERVICE>")
      .requiredOption("--to <NS>", "the namespace that it is for")
      .option("--from <NS>", "the namespace that it is in")
      .option("--all", "take over its environment and limits too, not only its image")
      .option("-y, --yes", "do it without asking")
      .option("--dry-run", "only show what would change")
      .option("-d, --detach", "return when it is accepted"),
    async (session, [name], options) =>
      (await load.promote()).promote(session, String(name), options),
  );
}

function addJobs(program: Command): void {
  const job = program.command("job").description("services that run to their end").exitOverride();
  client(job.command("ls").description("list jobs"), async (session) =>
    (await load.jobs()).listJobs(session, { onlyScheduled: false }),
  );
  client(
    job.command("runs").description("list the runs of a job").argument("<NAME>"),
    async (session, [name]) => (await load.jobs()).listRuns(session, String(name)),
  );
  trigger(job.command("run").description("start a job now and wait for its end"));
  const cron = program.command("cron").description("jobs on a schedule").exitOverride();
  client(cron.command("ls").description("list schedules"), async (session) =>
    (await load.jobs()).listJobs(session, { onlyScheduled: true }),
  );
  trigger(cron.command("trigger").description("start a scheduled job now"));
  client(
    cron.command("suspend").description("start nothing for now").argument("<NAME>"),
    async (session, [name]) => (await load.jobs()).suspendSchedule(session, String(name), true),
  );
  client(
    cron.command("resume").description("go on with a schedule").argument("<NAME>"),
    async (session, [name]) => (await load.jobs()).suspendSchedule(session, String(name), false),
  );
}

function trigger(command: Command): void {
  command.argument("<NAME>").option("-d, --detach", "return when it is accepted");
  client(command, async (session, [name], options) =>
    (await load.jobs()).triggerJob(session, String(name), options),
  );
}

/** What keeps the agreed state safe. */
function addKeeping(program: Command): void {
  client(
    program
      .command("voters")
      .description("show or set how many nodes vote at most")
      .argument("[COUNT]", "1, 3, 5 or 7"),
    async (session, [count]) => (await load.voters()).voters(session, text(count)),
  );
  client(
    program
      .command("backup")
      .description("write what the cluster agreed to run to a file")
      .argument("<FILE>"),
    async (session, [file]) => (await load.backup()).backup(session, String(file)),
  );
  client(
    program
      .command("restore")
      .description("run in this cluster what a backup describes")
      .argument("<FILE>")
      .option("-d, --detach", "return when it is accepted"),
    async (session, [file], options) =>
      (await load.backup()).restore(session, String(file), options),
  );
  client(
    program
      .command("recover")
      .description("go on with the survivors after a majority of the voters was lost for good")
      .option("--yes", "do it without asking"),
    async (session, _, options) => (await load.recover()).recover(session, options),
  );
}

type Action = (
  session: Session,
  args: readonly unknown[],
  // commander hands options over without types; each command states what it takes.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  options: any,
) => Promise<void>;

/** A command that talks to a daemon, with the flags that all of those have. */
function client(command: Command, action: Action): void {
  addClientOptions(command);
  shared(command, async (args, own: Shared) => {
    const options = { ...givenBefore(command), ...own };
    const interrupted = new AbortController();
    const interrupt = () => interrupted.abort(new CliError("interrupted", "Interrupted."));
    process.once("SIGINT", interrupt);
    try {
      const { connect } = await import("./connection.ts");
      const session = makeSession(options, () => connect(options, process.env), interrupted.signal);
      await action(session, args, options);
    } catch (error) {
      // Whatever broke because of it: the person asked for it.
      throw interrupted.signal.aborted ? interrupted.signal.reason : error;
    } finally {
      process.removeListener("SIGINT", interrupt);
    }
  });
}

function addClientOptions(command: Command): void {
  command
    .option("--host <ADDR>", "a node to ask (HOST[:PORT], with a token) or a socket path")
    .option("--token-file <FILE>", "a file that holds the token for --host; or SKEIN_TOKEN")
    .option("-o, --output <FORM>", "table (unless said otherwise) or json")
    .option("--json", "the same as -o json")
    .option("-n, --namespace <NAME>", "the namespace; the Compose project's name");
}

/** The options that stand before the command's own name. */
function givenBefore({ parent }: Command): Partial<Shared> {
  return parent === null ? {} : { ...givenBefore(parent), ...parent.opts<Partial<Shared>>() };
}

function shared<Options>(
  command: Command,
  action: (args: readonly unknown[], options: Options) => Promise<unknown>,
): void {
  command.exitOverride().action(async (...all: unknown[]) => {
    const args = all.slice(0, -2);
    await action(args, all.at(-2) as Options);
  });
}

function makeSession(
  options: Shared,
  connect: () => Session["client"],
  signal: AbortSignal,
): Session {
  const output = options.json ? "json" : (options.output ?? "table");
  if (output !== "table" && output !== "json") {
    throw new CliError("usage", `"${output}" is no output form. Forms are: table, json`);
  }
  let client: Session["client"] | undefined;
  return {
    // Not before it is needed: some commands only read files.
    get client() {
      client ??= connect();
      return client;
    },
    output,
    environment: process.env,
    workingDirectory: process.cwd(),
    namespace: options.namespace ?? process.env["SKEIN_NAMESPACE"],
    print: (line) => process.stdout.write(line),
    note: (line) => process.stderr.write(line),
    setExitCode: (code) => {
      process.exitCode = code;
    },
    now: () => Date.now(),
    signal,
  };
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** Runs the command line and resolves with the exit status; errors are printed, never thrown. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  endWithReader(process.stdout);
  endWithReader(process.stderr);
  try {
    await program.parseAsync(argv, { from: "user" });
    return Number(process.exitCode ?? exitCode.done);
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCode.done : exitCode.usage;
    }
    process.stderr.write(`skein: ${messageOf(error)}\n`);
    return exitCodeOf(error);
  }
}

/** A reader that has seen enough, as `head` does, is no failure; a full disk is one. */
function endWithReader(stream: NodeJS.WriteStream): void {
  stream.on("error", (error) => {
    process.exit(codeOf(error) === "EPIPE" ? exitCode.done : exitCode.failed);
  });
}
