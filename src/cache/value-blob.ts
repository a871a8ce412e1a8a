import { arrayDType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { FORMAT } from '../core/keys.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
import type { WholeBlob } from '../store/open-blob.js'
import { OWN, type BlobTensor } from '../store/shard-format.js'
import { DEPTH_MAX, leafOf, namesOf, Trail, type Value } from './value.js'

/**
 * A value as a blob: its leaves are tensors, named by the way to them (`input_ids`, `layers.0.weight`) so that any reader of safetensors finds them, and the tree around them
 * is JSON, in which `{"$a":name}` and `{"$t":name}` stand for arrays and tensors. docs/formats/store.md has the other tags.
 */
const TREE = `${OWN}value`
/** A longer tree is a tensor of bytes: a header is parsed whole, and twice quoted there. */
const INLINE_LENGTH_MAX = 16 * 1024
const NAME_LENGTH_MAX = 200

export interface ValueParts {
  readonly tensors: readonly BlobTensor[]
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * The parts of a value for `encodeBlob`. The leaves are the value's own arrays, not copies. The same value gives the same bytes. Throws TypeError, with the place under the name `root`, for what is no value.
 */
export function valueTensors(value: unknown, root = 'value'): ValueParts {
  const writer = new JsonWriter(root)
  const tree = JSON.stringify(writer.root(value))
  const metadata: Record<string, string> = { [`${OWN}format`]: String(FORMAT), [`${OWN}kind`]: 'value' }
  if (tree.length <= INLINE_LENGTH_MAX) return { tensors: writer.tensors, metadata: { ...metadata, [TREE]: tree } }
  const bytes = Buffer.from(tree)
  return { tensors: [...writer.tensors, { name: TREE, dtype: 'uint8', shape: [bytes.length], data: [bytes] }], metadata }
}

class JsonWriter {
  readonly tensors: BlobTensor[] = []
  readonly #trail: Trail

  constructor(root: string) {
    this.#trail = new Trail(root)
  }

  root(value: unknown): unknown {
    if (value === undefined) this.#trail.refuse('undefined', '; null says that there is nothing')
    return this.#json(value)
  }

  /** What `JSON.stringify` is to write for it. */
  #json(value: unknown): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
        return value
      case 'number':
        return Number.isFinite(value) && !Object.is(value, -0) ? value : { $f: Number.isNaN(value) ? 'nan' : value === 0 ? '-0' : value > 0 ? 'inf' : '-inf' }
      case 'bigint':
        return { $i: String(value) }
      case 'undefined':
        return { $u: true }
      case 'object':
        return value === null ? null : this.#object(value)
      default:
        return this.#trail.refuseKind(value)
    }
  }

  #object(value: object): unknown {
    const trail = this.#trail
    const leaf = leafOf(value, trail)
    if (leaf !== undefined) {
      const name = leafName(trail.keys) ?? `#${this.tensors.length}`
      this.tensors.push({ name, dtype: leaf.dtype, shape: leaf.shape, data: [leaf.data] })
      return leaf.tensor ? { $t: name } : { $a: name }
    }
    trail.enter(value)
    let out: unknown
    if (Array.isArray(value)) {
      out = Array.from(value, (element, index) => {
        trail.at(index)
        return this.#json(element)
      })
    } else {
      const entries = namesOf(value, trail).map((name) => {
        trail.at(name)
        return [name, this.#json((value as Record<string, unknown>)[name])] as const
      })
      if (entries.some(([name]) => name.startsWith('$'))) {
        out = { $o: entries }
      } else {
        // Without a prototype, `__proto__` is a name like any other.
        const object = Object.create(null) as Record<string, unknown>
        for (const [name, json] of entries) object[name] = json
        out = object
      }
    }
    trail.leave()
    return out
  }
}

/** Undefined where the way holds anything that is no plain word: such leaves are numbered. No two leaves of a value have the same name. */
function leafName(keys: readonly (string | number)[]): string | undefined {
  if (keys.length === 0) return 'value'
  if (!keys.every((key) => typeof key === 'number' || /^[A-Za-z][A-Za-z0-9_-]*$/.test(key))) return undefined
  const name = keys.join('.')
  return name.length > NAME_LENGTH_MAX || name.startsWith(OWN) ? undefined : name
}

/**
 * The value in a blob. Its arrays are views of the blob's memory, never copies; they live as long as anybody holds one.
 * Throws IntegrityError when the blob holds no value.
 */
export function valueFrom(blob: Omit<WholeBlob, 'heldBytes'>): Value {
  const kind = blob.metadata[`${OWN}kind`]
  if (kind !== 'value' || blob.metadata[`${OWN}format`] !== String(FORMAT)) throw new IntegrityError(blob.path, `holds no value of format ${FORMAT}`)
  return new JsonReader(blob).value()
}

class JsonReader {
  readonly #blob: Omit<WholeBlob, 'heldBytes'>

  constructor(blob: Omit<WholeBlob, 'heldBytes'>) {
    this.#blob = blob
  }

  value(): Value {
    let tree: unknown
    try {
      tree = JSON.parse(this.#blob.metadata[TREE] ?? Buffer.from(bytesOf(this.#leaf(TREE).data)).toString())
    } catch (cause) {
      if (cause instanceof IntegrityError) throw cause
      this.#fail(`the tree is no JSON (${(cause as Error).message})`, cause)
    }
    return this.#restore(tree, 0)
  }

  /** Puts the tagged values of a tree of JSON into it. */
  #restore(json: unknown, depth: number): Value {
    if (typeof json !== 'object' || json === null) return json as Value
    if (depth > DEPTH_MAX) this.#fail(`more than ${DEPTH_MAX} levels`)
    if (Array.isArray(json)) {
      for (let i = 0; i < json.length; i++) if (typeof json[i] === 'object') json[i] = this.#restore(json[i], depth + 1)
      return json as Value[]
    }
    const object = json as Record<string, unknown>
    for (const name of Object.keys(object)) {
      if (name.startsWith('$')) return this.#tagged(object, depth)
      if (typeof object[name] === 'object') object[name] = this.#restore(object[name], depth + 1)
    }
    return object as Value
  }

  #tagged(object: Record<string, unknown>, depth: number): Value {
    const entries = Object.entries(object)
    const [tag, content] = entries[0]!
    if (entries.length === 1) {
      if (tag === '$f' && typeof content === 'string' && Object.hasOwn(FLOATS, content)) return FLOATS[content]
      if (tag === '$i' && typeof content === 'string' && /^-?\d+$/.test(content)) return BigInt(content)
      if (tag === '$u') return undefined
      if (tag === '$a' && typeof content === 'string') {
        const { dtype, shape, data } = this.#leaf(content)
        return shape.length === 1 && arrayDType(dtype) === dtype ? data : this.#fail(`tensor ${content} is no plain array`)
      }
      if (tag === '$t' && typeof content === 'string') return this.#leaf(content)
      if (tag === '$o' && Array.isArray(content)) {
        const out: Record<string, Value> = {}
        for (const entry of content as unknown[]) {
          if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string') this.#fail('an entry that is no pair')
          const [name, value] = entry as [string, unknown]
          Object.defineProperty(out, name, { value: this.#restore(value, depth + 1), enumerable: true, configurable: true, writable: true })
        }
        return out
      }
    }
    return this.#fail(`an unknown tag (${Object.keys(object).join(', ').slice(0, 40)})`)
  }

  #leaf(name: string): Tensor {
    const stored = this.#blob.tensors.get(name)
    if (stored === undefined) return this.#fail(`there is no tensor ${name}`)
    return this.#blob.view(stored.dtype, [...stored.shape], stored.offset)
  }

  #fail(what: string, cause?: unknown): never {
    throw new IntegrityError(this.#blob.path, `a stored value is damaged: ${what}`, { cause })
  }
}

const FLOATS: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, '-inf': -Infinity, '-0': -0 }
