// What `Scene.write` of PhiFlow leaves behind, for fields on a one-dimensional grid: `sim_000000/velocity_000000.npz` and a description.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { array, zip } from '../npz.js'

/** Frames [count, cells] of a velocity, each a file of [x, vector]. */
export function writeScene(folder: string, frames: Float32Array, cells: number, description: Readonly<Record<string, unknown>>): void {
  mkdirSync(folder, { recursive: true })
  for (let frame = 0; frame * cells < frames.length; frame++) {
    const data = frames.subarray(frame * cells, (frame + 1) * cells)
    writeFileSync(join(folder, `velocity_${String(frame).padStart(6, '0')}.npz`), zip({
      dim_names: texts(['x', 'vector']), dim_types: texts(['spatial', 'channel']), field_type: texts(['CenteredGrid'], true), data: array('<f4', [cells, 1], data),
    }))
  }
  writeFileSync(join(folder, 'description.json'), JSON.stringify(description, null, 2))
}

/** Four bytes a character. */
function texts(all: readonly string[], isScalar = false): Buffer {
  const length = Math.max(...all.map((text) => text.length))
  const data = Buffer.alloc(4 * length * all.length)
  all.forEach((text, k) => Array.from(text).forEach((character, i) => data.writeUInt32LE(character.codePointAt(0)!, 4 * (k * length + i))))
  return array(`<U${length}`, isScalar ? [] : [all.length], data)
}
