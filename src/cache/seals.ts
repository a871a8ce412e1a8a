import { IntegrityError } from '../core/errors.js'
import { sha256 } from '../core/hash.js'
import { encodeSmall } from './value-small.js'

/** Finds out who writes to what is handed out to be read: hashes of values as they were remembered. For looking for faults: each hit costs a hash of the whole value. */
export class Seals {
  readonly #hashes = new WeakMap<object, Buffer>()

  seal(remembered: { readonly value: unknown }): void {
    this.#hashes.set(remembered, hashOf(remembered)!)
  }

  broken(remembered: { readonly value: unknown }): boolean {
    const hash = this.#hashes.get(remembered)
    return hash !== undefined && !hash.equals(hashOf(remembered) ?? Buffer.alloc(0))
  }

  error(namespace: string, key: string): IntegrityError {
    return new IntegrityError(namespace === '' ? key : `${namespace}/${key}`, 'the value was written to after it was handed out (TENSORCACHE_CHECK); values are to be read only, structuredClone gives your own')
  }
}

/** Undefined when somebody has put something into the value that no value holds. */
function hashOf({ value }: { readonly value: unknown }): Buffer | undefined {
  try {
    return sha256(encodeSmall(value, Infinity)!)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}
