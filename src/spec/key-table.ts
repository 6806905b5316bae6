import {
  deployKeys,
  limitsKeys,
  placementKeys,
  reservationsKeys,
  resourcesKeys,
  restartPolicyKeys,
  updateKeys,
} from "./deploy-keys.ts";
import {
  boolean,
  choice,
  noEffect,
  notYet,
  type SectionName,
  type SectionRules,
  supported,
  text,
} from "./key-rule.ts";
import {
  daemonHealthcheckKeys,
  envFileKeys,
  healthcheckKeys,
  ingressKeys,
  mountKeys,
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
  configs: notYet("Configuration files."),
  include: notYet("Other manifests. Name several files on the command line."),
  models: notYet("AI models."),
  networks: notYet("Separate networks; all services of a cluster reach each other."),
  secrets: notYet("Secrets."),
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

/** Every key that a manifest may have: the one table behind the parser and the reference page. */
export const keyTable: Readonly<Record<SectionName, SectionRules>> = {
  top: topKeys,
  service: serviceKeys,
  env_file: envFileKeys,
  port: portKeys,
  mount: mountKeys,
  ingress: ingressKeys,
  healthcheck: healthcheckKeys,
  "x-healthcheck": daemonHealthcheckKeys,
  deploy: deployKeys,
  update_config: updateKeys,
  restart_policy: restartPolicyKeys,
  resources: resourcesKeys,
  limits: limitsKeys,
  reservations: reservationsKeys,
  placement: placementKeys,
  volume: volumeKeys,
};
