import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parentPort } from 'node:worker_threads'
import { coincident, matrixOf, primitiveCell, type Cell } from './primitive-cell.js'

export interface PrimitiveRequest {
  readonly cell: Cell
  /** Å */
  readonly symprec: number
}

/** `cell` is undefined where the one that was sent is primitive. */
export type PrimitiveReply =
  | { readonly kind: 'done'; readonly cell: Cell | undefined }
  | { readonly kind: 'failed'; readonly message: string }
  /** As failed, and nothing is known of the module's memory any more. */
  | { readonly kind: 'trapped'; readonly message: string }
  /** The package cannot be loaded. */
  | { readonly kind: 'missing'; readonly message: string }

type Moyo = typeof import('@spglib/moyo-wasm')
let moyo: Promise<Moyo> | undefined

parentPort!.on('message', (request: PrimitiveRequest) => {
  void answer(request).then((reply) => parentPort!.postMessage(reply))
})

async function answer({ cell, symprec }: PrimitiveRequest): Promise<PrimitiveReply> {
  let library: Moyo
  try {
    library = await (moyo ??= load())
  } catch (error) {
    return { kind: 'missing', message: (error as Error).message }
  }
  const pair = coincident(cell, symprec)
  if (pair !== undefined) return { kind: 'failed', message: `atoms ${pair[0]} and ${pair[1]} are less than symprec (${symprec} Å) apart` }
  const { numbers, fracCoords, lattice } = cell
  const json = JSON.stringify({ lattice: { basis: [...lattice] }, positions: Array.from(numbers, (_, atom) => [...fracCoords.subarray(3 * atom, 3 * atom + 3)]), numbers: [...numbers] })
  let linear: readonly number[]
  try {
    linear = library.analyze_cell(json, symprec, 'Standard').prim_std_linear
  } catch (error) {
    const message = `no symmetry found with symprec ${symprec} Å (${error instanceof Error ? error.message : String(error)})`
    return { kind: error instanceof Error && error.name === 'RuntimeError' ? 'trapped' : 'failed', message }
  }
  try {
    // Column-major: each three are one vector, in fractions of the cell.
    return { kind: 'done', cell: primitiveCell(cell, matrixOf(Float64Array.from(linear)), 2 * symprec) }
  } catch (error) {
    return { kind: 'failed', message: (error as Error).message }
  }
}

async function load(): Promise<Moyo> {
  const library = await import('@spglib/moyo-wasm')
  library.initSync({ module: readFileSync(fileURLToPath(import.meta.resolve('@spglib/moyo-wasm/moyo_wasm_bg.wasm'))) })
  return library
}
