/**
 * The closed set of errors this library throws on its own account. Each has a `code` that programs may rely on and
 * the facts as fields. Misuse of an API (a wrong option, a wrong type) is a `TypeError` thrown before any work begins.
 */
export class TensorCacheError extends Error {
  /** `E_FORMAT`, `E_STORE`, …: one for each class, which does not change. */
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A file is damaged, truncated, hostile, or not what its header says. Nothing of it was used. */
export class FormatError extends TensorCacheError {
  /** Path of the file. */
  readonly file: string
  /** Array, member or header field the fault was found in. */
  readonly place: string
  /** What should be there. */
  readonly expected: string
  /** What is there. */
  readonly found: string
  constructor(facts: { file: string; place: string; expected: string; found: string }, options?: ErrorOptions) {
    super('E_FORMAT', `${facts.file}: ${facts.place}: expected ${facts.expected}, found ${facts.found}`, options)
    this.file = facts.file
    this.place = facts.place
    this.expected = facts.expected
    this.found = facts.found
  }
}

/** The file is sound but holds something this library does not read (an object array, an encrypted member). */
export class UnsupportedError extends TensorCacheError {
  /** Path of the file. */
  readonly file: string
  /** Array, member or column that cannot be read. */
  readonly place: string
  constructor(facts: { file: string; place: string; reason: string }, options?: ErrorOptions) {
    super('E_UNSUPPORTED', `${facts.file}: ${facts.place}: ${facts.reason}`, options)
    this.file = facts.file
    this.place = facts.place
  }
}

/** A source file changed while it was read. Nothing made from it was stored; run again when the writer is done. */
export class SourceChangedError extends TensorCacheError {
  /** Path of the file. */
  readonly file: string
  constructor(file: string, what: string, options?: ErrorOptions) {
    super('E_SOURCE_CHANGED', `${file}: changed while it was read (${what})`, options)
    this.file = file
  }
}

/** A recipe does not fit the fields it is given: wrong dtype, rank, missing field. Raised before anything is read. */
export class RecipeError extends TensorCacheError {
  /** Position of the op in the recipe, from 0; -1 when the recipe as a whole is at fault. */
  readonly op: number
  /** Name of that op; empty when the recipe as a whole is at fault. */
  readonly opName: string
  constructor(op: number, opName: string, message: string, options?: ErrorOptions) {
    super('E_RECIPE', op < 0 ? message : `op ${op} (${opName}): ${message}`, options)
    this.op = op
    this.opName = opName
  }
}

/** NaN or infinity where only finite numbers are allowed. */
export class NonFiniteError extends TensorCacheError {
  /** Name of the item. */
  readonly item: string
  /** Name of the field. */
  readonly field: string
  /** Number of such values in the tensor. */
  readonly count: number
  /** C-order index of the first such value. */
  readonly index: number
  constructor(facts: { where: string; item: string; field: string; count: number; index: number }) {
    super('E_NON_FINITE', `${facts.where}: item ${facts.item}, field ${facts.field}: ${facts.count} values are NaN or infinite, the first at index ${facts.index}`)
    this.item = facts.item
    this.field = facts.field
    this.count = facts.count
    this.index = facts.index
  }
}

/** Making one item failed; `cause` says why. */
export class ItemError extends TensorCacheError {
  /** Name of the item. */
  readonly item: string
  constructor(item: string, message: string, options?: ErrorOptions) {
    super('E_ITEM', `item ${item}: ${message}`, options)
    this.item = item
  }
}

/** Stored bytes are not the bytes that were written. The damaged file is moved to quarantine and its items are misses. */
export class IntegrityError extends TensorCacheError {
  /** Path of the damaged file. */
  readonly file: string
  constructor(file: string, message: string, options?: ErrorOptions) {
    super('E_INTEGRITY', `${file}: ${message}`, options)
    this.file = file
  }
}

/** The disk has no room for what was to be stored, or `maxSize` is reached, and nothing that can be made again is left to be removed. What is stored already is still served. */
export class DiskFullError extends TensorCacheError {
  /** Folder that was written to. */
  readonly dir: string
  /** Bytes that were free, or left of `maxSize`. */
  readonly bytesFree: number
  /** Bytes that were to be written. */
  readonly bytesNeeded: number
  /** The limit, when it was reached and not the disk's. */
  readonly maxSize: number | undefined
  constructor(facts: { dir: string; bytesFree: number; bytesNeeded: number; maxSize?: number }, options?: ErrorOptions) {
    super('E_DISK_FULL', `${facts.dir}: ${facts.bytesNeeded} bytes needed, ${Math.max(0, facts.bytesFree)} free${facts.maxSize === undefined ? '' : ` of maxSize ${facts.maxSize}, and nothing that could be removed`}`, options)
    this.maxSize = facts.maxSize
    this.dir = facts.dir
    this.bytesFree = facts.bytesFree
    this.bytesNeeded = facts.bytesNeeded
  }
}

/** The cache directory cannot be used: other format version, network file system, no permission, damaged index. */
export class StoreError extends TensorCacheError {
  /** Folder of the cache, or of a drive. */
  readonly dir: string
  constructor(dir: string, message: string, options?: ErrorOptions) {
    super('E_STORE', `${dir}: ${message}`, options)
    this.dir = dir
  }
}

/** Another process took the work over while this one was stalled; what this one made was not published. */
export class LeaseLostError extends TensorCacheError {
  constructor(what: string) {
    super('E_LEASE_LOST', `${what}: taken over by another process`)
  }
}

/** A file that must be there is not, or cannot be read. */
export class FileError extends TensorCacheError {
  /** Path of the file. */
  readonly file: string
  constructor(file: string, message: string, options?: ErrorOptions) {
    super('E_FILE', `${file}: ${message}`, options)
    this.file = file
  }
}

/** A package, the native addon or a driver that this call needs is not installed; the message names the command. */
export class MissingDependencyError extends TensorCacheError {
  constructor(message: string, options?: ErrorOptions) {
    super('E_MISSING_DEPENDENCY', message, options)
  }
}
