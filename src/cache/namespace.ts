import { show } from '../core/options.js'

/** Parts of at least one character between single slashes, none of them `.` or `..`. */
export function checkNamespace(where: string, namespace: unknown): string {
  const fits = typeof namespace === 'string' && Buffer.byteLength(namespace) <= 512 && namespace.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !/\p{Cc}/u.test(part))
  if (!fits) throw new TypeError(`${where}: namespace must be names between slashes, such as generated/cycle_003, not ${show(namespace)}`)
  return namespace as string
}
