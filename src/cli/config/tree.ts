/** A configuration file is wrong; the message names the file and the place. */
export class ConfigError extends TypeError {}

export type Tree = { [key: string]: unknown }

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
