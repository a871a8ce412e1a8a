// Pictures with captions as a PNG to look at.
import { writeFileSync } from 'node:fs'
import { PNG } from 'pngjs'

export type Rgb = readonly [number, number, number]

export interface Picture {
  readonly width: number
  readonly height: number
  /** From the left, from the top. */
  at(u: number, v: number): Rgb
}

/** Pictures beside each other, below their caption; none: the caption alone. */
export interface Row {
  readonly caption: string
  readonly pictures: readonly Picture[]
}

const GAP = 6
const PAPER: Rgb = [18, 20, 24]
const INK: Rgb = [206, 210, 216]
const SCALE = 2
const CAPTION = 7 * SCALE + GAP
/** Rows of 5 pixels, each a digit of base 32; as wide as it is drawn. */
const GLYPHS: Readonly<Record<string, string>> = {
  A: 'ehhvhhh', B: 'uhhuhhu', C: 'ehggghe', D: 'uhhhhhu', E: 'vgguggv', F: 'vgguggg', G: 'ehgnhhf', H: 'hhhvhhh', I: 'e44444e', J: '72222ic', K: 'hikokih', L: 'ggggggv', M: 'hrllhhh', N: 'hhpljhh', O: 'ehhhhhe', P: 'uhhuggg', Q: 'ehhhlid',
  R: 'uhhukih', S: 'fgge11u', T: 'v444444', U: 'hhhhhhe', V: 'hhhhha4', W: 'hhhllla', X: 'hha4ahh', Y: 'hha4444', Z: 'v1248gv', 0: 'ehjlphe', 1: '4c4444e', 2: 'eh1248v', 3: 'v2421he', 4: '26aiv22', 5: 'vgu11he', 6: '68guhhe', 7: 'v124888',
  8: 'ehhehhe', 9: 'ehhf12c', '.': '00000cc', ',': '0000c48', ':': '0cc0cc0', '-': '000v000', '_': '000000v', '/': '01248g0', '(': '2488842', ')': '8422248', '+': '044v440', '=': '00v0v00', ' ': '0000000', '×': '0ha4ah0',
}

/** Writes blocks of rows, one block below the other in columns. */
export function writeSheet(path: string, blocks: readonly (readonly Row[])[], columns = 2): void {
  const widthOf = ({ pictures }: Row): number => pictures.reduce((sum, { width: own }) => sum + own + GAP, 0)
  const widths = Array.from({ length: columns }, (_, column) => Math.max(0, ...blocks.filter((_, k) => k % columns === column).flat().map(widthOf)))
  const lefts = widths.map((_, column) => widths.slice(0, column).reduce((sum, width) => sum + width + 3 * GAP, 2 * GAP))
  const heights = blocks.map((block) => block.reduce((sum, { pictures }) => sum + CAPTION + Math.max(0, ...pictures.map(({ height }) => height)) + GAP, 2 * GAP))
  const rows = Array.from({ length: Math.ceil(blocks.length / columns) }, (_, row) => Math.max(...heights.slice(row * columns, (row + 1) * columns)))
  const sheet = new PNG({ width: lefts.at(-1)! + widths.at(-1)! + 2 * GAP, height: rows.reduce((sum, height) => sum + height, 2 * GAP) })
  const dot = (x: number, y: number, [r, g, b]: Rgb): void => { sheet.data.set([r, g, b, 255], 4 * (y * sheet.width + x)) }
  for (let y = 0; y < sheet.height; y++) for (let x = 0; x < sheet.width; x++) dot(x, y, PAPER)
  blocks.forEach((block, k) => {
    const left = lefts[k % columns]!
    let top = 2 * GAP + rows.slice(0, Math.floor(k / columns)).reduce((sum, height) => sum + height, 0)
    for (const { caption, pictures } of block) {
      write(caption, (x, y) => dot(left + x, top + y, INK))
      top += CAPTION
      let x = left
      for (const picture of pictures) {
        for (let v = 0; v < picture.height; v++) for (let u = 0; u < picture.width; u++) dot(x + u, top + v, picture.at(u, v))
        x += picture.width + GAP
      }
      top += Math.max(0, ...pictures.map(({ height }) => height)) + GAP
    }
  })
  writeFileSync(path, PNG.sync.write(sheet))
}

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
