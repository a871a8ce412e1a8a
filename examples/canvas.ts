// A picture that is drawn on.
import type { Picture, Rgb } from './sheet.js'

/** Pixels to draw on, `[height, width]`; coordinates are in pixels from the top left corner, and what lies outside is not drawn. */
export class Canvas implements Picture {
  readonly width: number
  readonly height: number
  readonly #pixels: Rgb[]

  constructor(width: number, height: number, ground: Picture['at']) {
    this.width = width
    this.height = height
    this.#pixels = Array.from({ length: width * height }, (_, k) => ground(k % width, Math.floor(k / width)))
  }

  at(u: number, v: number): Rgb {
    return this.#pixels[v * this.width + u]!
  }

  /** A filled circle. */
  disc(x: number, y: number, radius: number, colour: Rgb): void {
    this.line(x, y, x, y, 2 * radius, colour)
  }

  /** With round ends: every pixel whose middle is within half the width of the line. */
  line(fromX: number, fromY: number, toX: number, toY: number, wide: number, colour: Rgb): void {
    const [alongX, alongY, half] = [toX - fromX, toY - fromY, wide / 2]
    const squared = alongX ** 2 + alongY ** 2
    const range = (a: number, b: number, end: number): [number, number] => [Math.max(0, Math.floor(Math.min(a, b) - half)), Math.min(end - 1, Math.ceil(Math.max(a, b) + half))]
    const [[left, right], [top, bottom]] = [range(fromX, toX, this.width), range(fromY, toY, this.height)]
    for (let v = top; v <= bottom; v++) {
      for (let u = left; u <= right; u++) {
        const [x, y] = [u + 0.5 - fromX, v + 0.5 - fromY]
        const part = squared === 0 ? 0 : Math.max(0, Math.min(1, (x * alongX + y * alongY) / squared))
        if (Math.hypot(x - part * alongX, y - part * alongY) <= half) this.#pixels[v * this.width + u] = colour
      }
    }
  }
}
