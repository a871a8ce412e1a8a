/** Points of a plane, with finite coordinates that stay as they are. Whoever asks again of the same object need not wait for it to be sorted. */
export interface PlanePoints {
  readonly x: Float64Array
  readonly y: Float64Array
}

/** Points by nearness: by squared distance, (x − x₀)² + (y − y₀)² in doubles, each operation rounded once, and of equally near ones by index. [places, k] each. */
export interface Nearest {
  readonly index: Int32Array
  readonly squared: Float64Array
}

/** The `k` nearest of `points` to each of the points `at`, itself among them; `k` is at most as many as there are. */
export type NearestSearch = (points: PlanePoints, at: Int32Array, k: number) => Promise<Nearest>
