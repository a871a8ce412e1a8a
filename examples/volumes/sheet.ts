// Slices of volumes as a PNG to look at: rows of pictures in grey, with contours of masks and captions.
import { writeFileSync } from 'node:fs'
import { PNG } from 'pngjs'
import type { Tensor } from 'tensorcache'

/** What is drawn of a volume: the slices along all three axes that meet in one voxel, in millimetres, so that voxels that are not cubes are not shown as such. */
export interface View {
  readonly caption: string
  /** [x, y, z] */
  readonly image: Tensor
  /** uint8, of the image's shape: where it changes, a line is drawn. */
  readonly mask: Tensor<'uint8'>
  /** The voxel that the slices meet in. */
  readonly at: readonly number[]
  /** mm along each axis */
  readonly spacing: readonly number[]
  /** Values that are black and white. */
  readonly window: readonly [black: number, white: number]
}

type Rgb = readonly [number, number, number]

const PIXELS_PER_MM = 0.62
const GAP = 6
const PAPER: Rgb = [18, 20, 24]
const INK: Rgb = [206, 210, 216]
/** By label: the organ and what is in it. */
const CONTOURS: readonly Rgb[] = [[0, 0, 0], [64, 170, 255], [255, 96, 64]]
/** [horizontal, upwards, across]: as a reader of images in RAS expects them, but for the side that right is on. */
const PLANES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]] as const
/** Rows of 5 pixels, each a digit of base 32; as wide as it is drawn. */
const GLYPHS: Readonly<Record<string, string>> = {
  A: 'ehhvhhh', B: 'uhhuhhu', C: 'ehggghe', D: 'uhhhhhu', E: 'vgguggv', F: 'vgguggg', G: 'ehgnhhf', H: 'hhhvhhh', I: 'e44444e', J: '72222ic', K: 'hikokih', L: 'ggggggv', M: 'hrllhhh', N: 'hhpljhh', O: 'ehhhhhe', P: 'uhhuggg', Q: 'ehhhlid',
  R: 'uhhukih', S: 'fgge11u', T: 'v444444', U: 'hhhhhhe', V: 'hhhhha4', W: 'hhhllla', X: 'hha4ahh', Y: 'hha4444', Z: 'v1248gv', 0: 'ehjlphe', 1: '4c4444e', 2: 'eh1248v', 3: 'v2421he', 4: '26aiv22', 5: 'vgu11he', 6: '68guhhe', 7: 'v124888',
  8: 'ehhehhe', 9: 'ehhf12c', '.': '00000cc', ',': '0000c48', ':': '0cc0cc0', '-': '000v000', '_': '000000v', '/': '01248g0', '(': '2488842', ')': '8422248', '+': '044v440', '=': '00v0v00', ' ': '0000000', '×': '0ha4ah0',
}

/** Writes volumes one below the other in columns: each with its pictures before above those after. */
export function writeSheet(path: string, volumes: readonly { readonly before: View; readonly after: View }[], columns = 2): void {
  const blocks = volumes.map(({ before, after }) => [before, after].map((view) => ({ view, pictures: PLANES.map((plane) => picture(view, plane)) })))
  const width = Math.max(...blocks.flat().map(({ pictures }) => pictures.reduce((sum, { width: own }) => sum + own + GAP, 0)))
  const heights = blocks.map((block) => block.reduce((sum, { pictures }) => sum + CAPTION + Math.max(...pictures.map(({ height }) => height)) + GAP, 2 * GAP))
  const rows = Array.from({ length: Math.ceil(blocks.length / columns) }, (_, row) => Math.max(...heights.slice(row * columns, (row + 1) * columns)))
  const sheet = new PNG({ width: columns * (width + 3 * GAP) + GAP, height: rows.reduce((sum, height) => sum + height, 2 * GAP) })
  const dot = (x: number, y: number, [r, g, b]: Rgb): void => { sheet.data.set([r, g, b, 255], 4 * (y * sheet.width + x)) }
  for (let y = 0; y < sheet.height; y++) for (let x = 0; x < sheet.width; x++) dot(x, y, PAPER)
  blocks.forEach((block, k) => {
    const left = 2 * GAP + (k % columns) * (width + 3 * GAP)
    let top = 2 * GAP + rows.slice(0, Math.floor(k / columns)).reduce((sum, height) => sum + height, 0)
    for (const { view, pictures } of block) {
      write(view.caption, (x, y) => dot(left + x, top + y, INK))
      top += CAPTION
      let x = left
      for (const { width: own, height, at } of pictures) {
        for (let v = 0; v < height; v++) for (let u = 0; u < own; u++) dot(x + u, top + v, at(u, v))
        x += own + GAP
      }
      top += Math.max(...pictures.map(({ height }) => height)) + GAP
    }
  })
  writeFileSync(path, PNG.sync.write(sheet))
}

interface Picture {
  readonly width: number
  readonly height: number
  at(u: number, v: number): Rgb
}

/** A slice whose pixels are squares in the world. */
function picture({ image, mask, at: middle, spacing, window: [black, white] }: View, [across, up, through]: typeof PLANES[number]): Picture {
  const { shape } = image
  const pixels = (axis: number): number => Math.round(shape[axis]! * spacing[axis]! * PIXELS_PER_MM)
  const [width, height] = [pixels(across), pixels(up)]
  const strides = [shape[1]! * shape[2]!, shape[2]!, 1]
  const voxel = (u: number, v: number): number => {
    const i = Math.min(shape[across]! - 1, Math.floor((u + 0.5) / width * shape[across]!))
    const j = Math.min(shape[up]! - 1, Math.floor((height - v - 0.5) / height * shape[up]!))
    return i * strides[across]! + j * strides[up]! + middle[through]! * strides[through]!
  }
  const label = (u: number, v: number): number => mask.data[voxel(u, v)]!
  return {
    width, height,
    at(u, v) {
      const own = label(u, v)
      const isEdge = own > 0 && ((u > 0 && label(u - 1, v) < own) || (v > 0 && label(u, v - 1) < own) || (u < width - 1 && label(u + 1, v) < own) || (v < height - 1 && label(u, v + 1) < own))
      if (isEdge) return CONTOURS[own]!
      const grey = Math.round(255 * Math.min(1, Math.max(0, (Number(image.data[voxel(u, v)]!) - black) / (white - black))))
      return [grey, grey, grey]
    },
  }
}

const SCALE = 2
const CAPTION = 7 * SCALE + GAP

function write(text: string, dot: (x: number, y: number) => void): void {
  Array.from(text.toUpperCase()).forEach((character, k) => {
    Array.from(GLYPHS[character] ?? GLYPHS['-']!).forEach((row, y) => {
      for (let x = 0; x < 5; x++) {
        if ((parseInt(row, 32) >> (4 - x) & 1) === 0) continue
        for (let v = 0; v < SCALE; v++) for (let u = 0; u < SCALE; u++) dot((6 * k + x) * SCALE + u, y * SCALE + v)
      }
    })
  })
}
