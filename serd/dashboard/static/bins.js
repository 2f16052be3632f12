// A time in stretches of equal length, as the server counts them, with what comes live added.

export class Bins {
  constructor(since, until, binMs) {
    this.since = since;
    this.until = until;
    this.binMs = binMs;
    this.byStart = new Map();
  }

  static from(answer) {
    const bins = new Bins(answer.since_ms, answer.until_ms, answer.bin_ms);
    for (const bin of answer.bins) bins.byStart.set(bin.start_ms, bin);
    return bins;
  }

  /** Count an event that has just come. */
  add(event) {
    const began = Date.parse(event.started_at);
    if (began < this.since) return;
    const start = this.since + Math.floor((began - this.since) / this.binMs) * this.binMs;
    let bin = this.byStart.get(start);
    if (!bin) {
      bin = { start_ms: start, count: 0, valence: 0, arousal: 0, emotions: {} };
      this.byStart.set(start, bin);
    }
    bin.count += 1;
    bin.valence += (event.valence - bin.valence) / bin.count;
    bin.arousal += (event.arousal - bin.arousal) / bin.count;
    bin.emotions[event.emotion] = (bin.emotions[event.emotion] ?? 0) + 1;
  }

  /** Let the time shown end now or soon; what is too old is forgotten. */
  roll(now) {
    const steps = Math.ceil((now - this.until) / this.binMs);
    if (steps <= 0) return;
    this.since += steps * this.binMs;
    this.until += steps * this.binMs;
    for (const start of this.byStart.keys()) {
      if (start < this.since) this.byStart.delete(start);
    }
  }

  /** Those with utterances, in order. */
  list() {
    return [...this.byStart.values()].sort((a, b) => a.start_ms - b.start_ms);
  }

  /** The same time in stretches so many times as long. */
  coarser(factor) {
    if (factor <= 1) return this;
    const bins = new Bins(this.since, this.until, this.binMs * factor);
    for (const bin of this.byStart.values()) {
      const place = Math.floor((bin.start_ms - this.since) / bins.binMs);
      const start = this.since + place * bins.binMs;
      const one = bins.byStart.get(start) ?? { start_ms: start, count: 0, valence: 0, arousal: 0, emotions: {} };
      one.count += bin.count;
      one.valence += ((bin.valence - one.valence) * bin.count) / one.count;
      one.arousal += ((bin.arousal - one.arousal) * bin.count) / one.count;
      bins.byStart.set(start, one);
    }
    return bins;
  }

  get total() {
    let total = 0;
    for (const bin of this.byStart.values()) total += bin.count;
    return total;
  }
}

/** The emotions of a bin (or of several), the most frequent first. */
export function frequent(emotions) {
  return Object.entries(emotions).sort((a, b) => b[1] - a[1]);
}
