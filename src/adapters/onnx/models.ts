import { statSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { FormatError, SourceChangedError, UnsupportedError } from '../../core/errors.js'
import { sha256, toHex } from '../../core/hash.js'
import { OpenFile } from '../../sources/file.js'
import type { SourceFile } from '../../sources/source.js'
import { factsOf, type ModelFacts } from './model-facts.js'

/** A model's files as they were when they were read. */
export interface Model {
  /** SHA-256 of the .onnx file, 64 hex digits. */
  readonly digest: string
  /** Of the files beside it that hold weights, by the names that the model has for them. */
  readonly external: Readonly<Record<string, string>>
  readonly path: string
  readonly facts: ModelFacts
  /** Of all its files: path and state. */
  readonly files: readonly { readonly path: string; readonly state: string }[]
}

/** A message of protobuf is smaller, so larger models have their weights in files beside them. */
const MODEL_BYTES_MAX = 2 ** 31 - 1
/** A digest is remembered of a file that has been left alone for longer than the clock of the file system may lag. */
const SETTLED_NS = 50_000_000n

/** Of this process, by all their digests: recipes name models by these. And the last one that was read of each .onnx file's digest. */
const models = new Map<string, Model>()
const latest = new Map<string, Model>()
/** By the state of a file. */
const digests = new Map<string, string>()

/** Reads a model's file and hashes it with the files that it refers to, off the event loop. Rejects with FileError, FormatError and UnsupportedError. */
export async function readModel(path: string | URL, signal?: AbortSignal): Promise<Model> {
  const steps = reading(path)
  let step = steps.next()
  try {
    while (step.done !== true) step = steps.next(await step.value.sourceFile().digest(signal))
    return step.value
  } finally {
    steps.return(undefined as never)
  }
}

/** The same at once, for configuration files: 2 GB of weights take a second. */
export function readModelNow(path: string): Model {
  const steps = reading(path)
  let step = steps.next()
  while (step.done !== true) {
    step.value.assertUnchanged()
    step = steps.next(toHex(sha256(...step.value.pieces(0, step.value.size))))
  }
  return step.value
}

/** The model with these digests, where this process has read it. `external` undefined: with the weights that it had when it was read last. */
export function knownModel(digest: string, external: Model['external'] | undefined): Model | undefined {
  return external === undefined ? latest.get(digest) : models.get(keyOf(digest, external))
}

/** Throws SourceChangedError unless all files are as they were. */
export function assertModelUnchanged({ files }: Model): void {
  for (const { path, state } of files) {
    const now = statSync(path, { bigint: true, throwIfNoEntry: false })
    if (now === undefined) throw new SourceChangedError(path, 'it was there when the recipe was made')
    if (stateOf(now) !== state) throw new SourceChangedError(path, 'it was another one when the recipe was made')
  }
}

/** Yields files whose digests it needs. */
function * reading(path: string | URL): Generator<OpenFile, Model, string> {
  const opened: OpenFile[] = []
  const open = (which: string | URL): OpenFile => {
    const file = OpenFile.open(which)
    opened.push(file)
    return file
  }
  const files: { path: string; state: string }[] = []
  function * digestOf(file: OpenFile): Generator<OpenFile, string, string> {
    const stat = file.sourceFile()
    const state = stateOf(stat)
    files.push({ path: file.path, state })
    const digest = digests.get(state) ?? (yield file)
    file.assertUnchanged()
    if (BigInt(Date.now()) * 1_000_000n - stat.ctimeNs > SETTLED_NS) digests.set(state, digest)
    return digest
  }
  try {
    const file = open(path)
    if (file.size > MODEL_BYTES_MAX) throw new FormatError({ file: file.path, place: 'model', expected: `at most ${MODEL_BYTES_MAX} bytes, weights being in files beside it`, found: `${file.size} bytes` })
    const facts = factsOf(file.path, file.bytes(0, file.size))
    const digest = yield * digestOf(file)
    const external: Record<string, string> = {}
    for (const name of facts.external) external[name] = yield * digestOf(open(placeOf(file.path, name)))
    const model: Model = { digest, external, path: file.path, facts, files }
    models.set(keyOf(digest, external), model)
    latest.set(digest, model)
    return model
  } finally {
    for (const file of opened) file.close()
  }
}

/** Where weights lie: beside the model or below. */
function placeOf(model: string, name: string): string {
  const refuse = (reason: string): never => { throw new UnsupportedError({ file: model, place: `external data ${JSON.stringify(name)}`, reason }) }
  if (name.startsWith('*/')) refuse('is memory of another process')
  if (isAbsolute(name) || name.split(/[/\\]/).includes('..')) refuse('does not lie beside the model')
  return resolve(dirname(model), name)
}

function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: Pick<SourceFile, 'dev' | 'ino' | 'mtimeNs' | 'ctimeNs'> & { readonly size: number | bigint }): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
}

function keyOf(digest: string, external: Model['external']): string {
  return JSON.stringify([digest, ...Object.entries(external).sort()])
}
