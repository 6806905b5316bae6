import {
  blkioKeys,
  blkioRateKeys,
  blkioWeightKeys,
  deviceKeys,
  loggingKeys,
  ulimitKeys,
} from "./container-keys.ts";
import {
  deployKeys,
  limitsKeys,
  placementKeys,
  preferenceKeys,
  reservationsKeys,
  resourcesKeys,
  restartPolicyKeys,
  updateKeys,
  xJobKeys,
  xPlacementKeys,
  xScheduleKeys,
} from "./deploy-keys.ts";
import { xFailoverKeys } from "./failover-keys.ts";
import {
  boolean,
  choice,
  noEffect,
  notYet,
  path,
  type SectionName,
  type SectionRules,
  supported,
  text,
} from "./key-rule.ts";
import { rollbackKeys, xUpdateKeys } from "./rollout-keys.ts";
import {
  bindKeys,
  daemonHealthcheckKeys,
  dependsOnKeys,
  envFileKeys,
  extendsKeys,
  healthcheckKeys,
  ingressKeys,
  mountKeys,
  mountTmpfsKeys,
  mountVolumeKeys,
  portKeys,
  serviceKeys,
} from "./service-keys.ts";

const topKeys: SectionRules = {
  name: supported(
    text,
    "shop",
    "The namespace of the services. Default: the name of the directory, else `default`.",
  ),
  services: supported(
    { kind: "named", section: "service" },
    "{web: {image: example/web}}",
    "The services by name. A name is a DNS label: lower-case letters, digits and `-`.",
  ),
  volumes: supported(
    { kind: "named", section: "volume" },
    "{data: {}}",
    "Volumes that outlive containers. Each node has its own of that name.",
  ),
  version: noEffect("Obsolete."),
  include: supported(
    { kind: "items", section: "include", shape: "PATH", isPath: true },
    "[./other.yaml]",
    "Other manifests, whose services and volumes are taken in. Their paths are seen from their own directories.",
  ),
  "x-namespace": supported(
    text,
    "shop",
    "The same as `name`, for files that tools read which do not know `name`.",
  ),
  configs: notYet("Configuration files.", { kind: "named", section: "config" }),
  models: notYet("AI models."),
  networks: notYet("Separate networks; all services of a cluster reach each other."),
  secrets: notYet("Secrets.", { kind: "named", section: "secret" }),
  "x-context": notYet("The cluster that the manifest is for."),
  "x-external": notYet("Names of services outside of the cluster."),
};

const volumeKeys: SectionRules = {
  name: supported(text, "shared", "The volume's own name. Default: `NAMESPACE_KEY`."),
  external: supported(
    boolean,
    "true",
    "Whether the volume is somebody else's: its name is then the key as it stands.",
  ),
  driver: supported(choice(["local"]), "local", "Only `local`, a directory that the engine keeps."),
  driver_opts: notYet("Options of the driver."),
  labels: notYet("Labels of the volume."),
};

const includeKeys: SectionRules = {
  path: supported(
    { kind: "texts", isPath: true },
    "./other.yaml",
    "The manifest, or several that are laid over each other. Required.",
  ),
  project_directory: supported(
    path,
    "./elsewhere",
    "Where its paths are seen from. Default: the directory that it is in.",
  ),
  env_file: supported(
    { kind: "texts", isPath: true },
    "./other.env",
    "Variables for it. Default: the file `.env` of its directory.",
  ),
};

const contentKeys: SectionRules = {
  file: supported(path, "./motd", "A file beside the manifest."),
  environment: supported(text, "MOTD", "A variable of the command that reads the manifest."),
  external: supported(boolean, "true", "Whether it is somebody else's, and there already."),
  name: supported(text, "motd-1", "Its own name. Default: `NAMESPACE_KEY`."),
  labels: notYet("Labels."),
  template_driver: notYet("Templates inside."),
};

/**
 * Keys that other readers of Compose files do not know may be written with `x-` in front, so
 * that these accept the file.
 */
const alsoExtensions: readonly (readonly [SectionName, string])[] = [
  ["service", "cgroup"],
  ["service", "uts"],
  ["service", "depends_on"],
  ["port", "app_protocol"],
  ["healthcheck", "start_interval"],
];

/** The other name of such a key: `x-app-protocol` for `app_protocol`. */
export function extensionName(section: SectionName, key: string): string | undefined {
  const isOne = alsoExtensions.some(([where, name]) => where === section && name === key);
  return isOne ? `x-${key.replaceAll("_", "-")}` : undefined;
}

function withExtensions(
  rules: Readonly<Record<SectionName, SectionRules>>,
): Readonly<Record<SectionName, SectionRules>> {
  const table: Record<SectionName, SectionRules> = { ...rules };
  for (const [section, key] of alsoExtensions) {
    const rule = table[section][key];
    const name = extensionName(section, key);
    if (rule === undefined || name === undefined) continue;
    const note = `The same as \`${key}\`, for files that other tools read which do not know that.`;
    table[section] = { ...table[section], [name]: { ...rule, note } };
  }
  return table;
}

/** Every key that a manifest may have: the one table behind the parser and the reference page. */
export const keyTable: Readonly<Record<SectionName, SectionRules>> = withExtensions({
  top: topKeys,
  include: includeKeys,
  service: serviceKeys,
  extends: extendsKeys,
  env_file: envFileKeys,
  port: portKeys,
  mount: mountKeys,
  bind: bindKeys,
  mount_volume: mountVolumeKeys,
  mount_tmpfs: mountTmpfsKeys,
  device: deviceKeys,
  ulimit: ulimitKeys,
  logging: loggingKeys,
  blkio_config: blkioKeys,
  blkio_weight: blkioWeightKeys,
  blkio_rate: blkioRateKeys,
  ingress: ingressKeys,
  healthcheck: healthcheckKeys,
  "x-healthcheck": daemonHealthcheckKeys,
  depends_on: dependsOnKeys,
  deploy: deployKeys,
  update_config: updateKeys,
  rollback_config: rollbackKeys,
  restart_policy: restartPolicyKeys,
  resources: resourcesKeys,
  limits: limitsKeys,
  reservations: reservationsKeys,
  placement: placementKeys,
  preference: preferenceKeys,
  "x-placement": xPlacementKeys,
  "x-update": xUpdateKeys,
  "x-failover": xFailoverKeys,
  "x-schedule": xScheduleKeys,
  "x-job": xJobKeys,
  volume: volumeKeys,
  config: { ...contentKeys, content: supported(text, "hello", "The text itself.") },
  secret: {
    ...contentKeys,
    driver: notYet("Where it is kept."),
    driver_opts: notYet("Options of the driver."),
  },
});
