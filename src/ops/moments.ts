/**
 * Mean and variance of many numbers each, in one pass. Sums and sums of squares of x - K, K the first number, are kept with what their additions and products round away
 * (T. Ogita, S. M. Rump, S. Oishi, SIAM J. Sci. Comput. 26 (2005) 1955-1988), as if in twice float64's precision: the results are within some units in the last place
 * of the exact ones, and equal numbers have a variance of exactly 0. Only + - * /, in the order given: the same bytes everywhere.
 */
export class Moments {
  readonly #width: number
  /** K of each column. */
  readonly #first: Float64Array
  readonly #sum: Float64Array
  readonly #sumRest: Float64Array
  readonly #squares: Float64Array
  readonly #squaresRest: Float64Array
  #column = 0
  #rows = 0

  /** `width` columns of numbers. */
  constructor(width: number) {
    this.#width = width
    this.#first = new Float64Array(width)
    this.#sum = new Float64Array(width)
    this.#sumRest = new Float64Array(width)
    this.#squares = new Float64Array(width)
    this.#squaresRest = new Float64Array(width)
  }

  /** The numbers that follow, row by row; a part may end within a row. Gives the position of the first that is NaN or infinite, or -1. */
  add(numbers: Float64Array): number {
    const [first, sum, sumRest, squares, squaresRest] = [this.#first, this.#sum, this.#sumRest, this.#squares, this.#squaresRest]
    const width = this.#width
    let k = this.#column
    for (let i = 0; i < numbers.length; i++) {
      const x = numbers[i]!
      if (x - x !== 0) return i
      if (this.#rows === 0) first[k] = x
      const from = first[k]!
      // x - from = d + e exactly.
      const d = x - from
      const back = d - x
      const e = (x - (d - back)) - (from + back)
      const s = sum[k]!
      const t = s + d
      const tBack = t - s
      sum[k] = t
      sumRest[k]! += ((s - (t - tBack)) + (d - tBack)) + e
      // d · d = p + q exactly (T. J. Dekker, Numer. Math. 18 (1971) 224-242).
      const p = d * d
      const split = SPLIT * d
      const high = split - (split - d)
      const low = d - high
      const q = ((high * high - p) + 2 * high * low) + low * low
      const s2 = squares[k]!
      const t2 = s2 + p
      const t2Back = t2 - s2
      squares[k] = t2
      squaresRest[k]! += ((s2 - (t2 - t2Back)) + (p - t2Back)) + (q + 2 * d * e)
      if (++k === width) {
        k = 0
        this.#rows++
      }
    }
    this.#column = k
    return -1
  }

  /** Of `rows` numbers in each column. `ddof` as NumPy has it: the sum of squares is divided by rows - ddof. */
  finish(rows: number, ddof: number): { mean: Float64Array; std: Float64Array } {
    const mean = new Float64Array(this.#width)
    const std = new Float64Array(this.#width)
    for (let k = 0; k < this.#width; k++) {
      const [sum, sumRest] = [this.#sum[k]!, this.#sumRest[k]!]
      // The mean of x - K is a + b.
      const a = sum / rows
      const [product, productRest] = times(a, rows)
      const b = ((sum - product) - productRest + sumRest) / rows
      const [whole, rest] = plus(this.#first[k]!, a)
      mean[k] = whole + (rest + b)
      // Sum of squares less sum · mean.
      const [less, lessRest] = times(sum, a)
      const [left, leftRest] = plus(this.#squares[k]!, -less)
      const variance = (left + (leftRest + (this.#squaresRest[k]! - (lessRest + (sum * b + sumRest * a))))) / (rows - ddof)
      // A remainder of rounding may be negative; NaN, of an overflow, must stay one.
      std[k] = variance < 0 ? 0 : Math.sqrt(variance)
    }
    return { mean, std }
  }
}

/** 2^27 + 1. */
const SPLIT = 134217729

/** a + b, rounded, and what was rounded away. */
function plus(a: number, b: number): [number, number] {
  const sum = a + b
  const back = sum - a
  return [sum, (a - (sum - back)) + (b - back)]
}

/** a · b, rounded, and what was rounded away. */
function times(a: number, b: number): [number, number] {
  const halves = (x: number): [number, number] => {
    const split = SPLIT * x
    const high = split - (split - x)
    return [high, x - high]
  }
  const product = a * b
  const [[aHigh, aLow], [bHigh, bLow]] = [halves(a), halves(b)]
  return [product, ((aHigh * bHigh - product) + aHigh * bLow + aLow * bHigh) + aLow * bLow]
}
