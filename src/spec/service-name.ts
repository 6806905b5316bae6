/** The name of a service is a DNS label. */
export const servicePattern = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$";
