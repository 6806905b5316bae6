import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { userInfo } from "node:os";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import type { TaskTemplate } from "../../spec/index.ts";
import { RuntimeError } from "../errors.ts";

/** What of the daemon's environment a program sees; the rest may hold secrets of the daemon. */
const inherited = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Shells drop other names, so these have to be set behind them. */
const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;

export type ProcessImage =
  | { readonly kind: "folder"; readonly path: string; readonly program: string | undefined }
  | { readonly kind: "program"; readonly path: string };

/** Finds what an image names on this machine: a folder, a program by its path, or one on PATH. */
export async function resolveImage(image: string): Promise<ProcessImage> {
  if (isAbsolute(image)) {
    if (await isExecutableFile(image)) return { kind: "program", path: image };
    if (await isFolder(image)) {
      const program =
        (await firstExecutable([join(image, "run"), join(image, "start")])) ?? undefined;
      return { kind: "folder", path: image, program };
    }
  } else if (!image.includes("/")) {
    const path = await findOnPath(image, process.env["PATH"] ?? defaultPath);
    if (path !== undefined) return { kind: "program", path };
  }
  throw new RuntimeError(
    "image_not_found",
    `The process runtime has no container images, and ${image} is neither a folder nor a program of this machine: give an absolute path or a command on PATH, or run a container engine.`,
  );
}

export const whyNotAttached =
  "The process runtime cannot join its programs with a client: start it with skein run -d and look with skein logs, or run a container engine.";

/** Refuses what would make the program work wrongly; see the runtime for what is not enforced. */
export function refuseUnsupported({
  mounts,
  user,
  engine,
  volumesFrom,
  startsAttached,
}: Pick<TaskTemplate, "mounts" | "user" | "engine" | "volumesFrom" | "startsAttached">): void {
  if (startsAttached) throw new RuntimeError("invalid_request", whyNotAttached);
  const [option] = Object.keys(engine ?? {});
  if (option !== undefined) {
    const words = option.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    throw new RuntimeError(
      "invalid_request",
      `The process runtime cannot set what only a container engine can (${words}): leave it out, or run a container engine.`,
    );
  }
  const mount = mounts[0];
  if (mount !== undefined) {
    throw new RuntimeError(
      "invalid_request",
      `The process runtime cannot mount ${mount.target}, because its programs see the machine's own files: name the path directly, or run a container engine.`,
    );
  }
  if (volumesFrom !== undefined) {
    throw new RuntimeError(
      "invalid_request",
      "The process runtime has no mounts that a container could take over from another (volumes_from): leave it out, or run a container engine.",
    );
  }
  const name = user?.split(":")[0];
  const { uid, username } = userInfo();
  if (name !== undefined && name !== String(uid) && name !== username) {
    throw new RuntimeError(
      "invalid_request",
      `The process runtime runs programs as ${username}, not as ${user}: leave the user out, or run a container engine.`,
    );
  }
}

/** The command line with the program's absolute path in front. */
export async function resolveArgv(
  { image, entrypoint, command = [] }: TaskTemplate,
  environment: Readonly<Record<string, string>>,
): Promise<{ readonly argv: readonly string[]; readonly imageFolder: string | undefined }> {
  const found = await resolveImage(image);
  const imageFolder = found.kind === "folder" ? found.path : undefined;
  const ownProgram = found.kind === "folder" ? found.program : found.path;
  const front = entrypoint ?? (ownProgram === undefined ? [] : [ownProgram]);
  const [name, ...rest] = [...front, ...command];
  if (name === undefined) {
    throw new RuntimeError(
      "invalid_request",
      `The folder ${image} has no executable file run or start, and no command is given.`,
    );
  }
  const path = await resolveProgram(name, imageFolder, environment["PATH"] ?? defaultPath);
  if (path === undefined) {
    throw new RuntimeError(
      "invalid_request",
      `The command ${name} is not an executable file of this machine.`,
    );
  }
  return { argv: [path, ...rest], imageFolder };
}

async function resolveProgram(
  name: string,
  imageFolder: string | undefined,
  path: string,
): Promise<string | undefined> {
  const inImage = imageFolder === undefined ? [] : [resolve(imageFolder, name)];
  if (isAbsolute(name)) return await firstExecutable([name]);
  if (name.includes("/")) return await firstExecutable(inImage);
  return (await firstExecutable(inImage)) ?? (await findOnPath(name, path));
}

/**
 * What the program sees: little of the daemon's, the template's, and where it has to listen.
 * `isGuest`: the ports are another program's, among which one of its own may be.
 */
export function environmentOf(
  template: TaskTemplate,
  ports: readonly { readonly target: number; readonly port: number }[],
  { listenAddress, isGuest }: { readonly listenAddress: string; readonly isGuest: boolean },
): Readonly<Record<string, string>> {
  const base = Object.fromEntries(
    inherited.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const assigned = Object.fromEntries(
    ports.map(({ target, port }) => [`SKEIN_PORT_${target}`, String(port)]),
  );
  const environment = { ...base, ...template.environment, ...assigned };
  if (ports.length === 0) return environment;
  // A PORT that names one of the exposed ports means "where I listen"; any other is the user's.
  const wanted = template.environment["PORT"];
  const first =
    wanted === undefined && !isGuest
      ? ports[0]
      : ports.find(({ target }) => String(target) === wanted);
  const port = first === undefined ? {} : { PORT: String(first.port) };
  return { ...environment, ...port, SKEIN_ADDRESS: listenAddress };
}

/** Splits off what a shell on the way would drop; `env` sets it again behind the shell. */
export async function shellSafe(
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<{
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}> {
  const all = Object.entries(environment);
  const unsafe = all.filter(([name]) => !shellName.test(name));
  if (unsafe.length === 0) return { argv, environment };
  const env = await findOnPath("env", defaultPath);
  if (env === undefined) {
    throw new RuntimeError(
      "invalid_request",
      `The environment variable ${unsafe[0]?.[0]} can only be set with the command env, which this machine lacks.`,
    );
  }
  const assignments = unsafe.map(([name, value]) => `${name}=${value}`);
  const safe = all.filter(([name]) => shellName.test(name));
  return { argv: [env, ...assignments, ...argv], environment: Object.fromEntries(safe) };
}

export async function findOnPath(name: string, path: string): Promise<string | undefined> {
  if (name === "") return undefined;
  const folders = path.split(delimiter).filter((folder) => isAbsolute(folder));
  return await firstExecutable(folders.map((folder) => join(folder, name)));
}

async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await isExecutableFile(path)) return path;
  return undefined;
}

async function isExecutableFile(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
