// The dropout passes and the photon term of a group of spectra.
//
// Compiled behind kernel_vectors.cpp and called by engine_compiled.py, which lays out the weights. A spectrum's arithmetic
// is the same whatever spectra are beside it: every sum runs in one fixed order. All is float32, but for one product where
// the processor can: what a pass changes in the units before the first dense layer, times that layer, is taken in bfloat16
// and summed in float32.
//
// Letters: C pixels, J pooled positions, S passes, n spectra (at most 16). Widths of layers are multiples of 16.
// A "panel" holds up to 96 columns of a matrix, row after row: what one pass over memory needs.

namespace {

constexpr int PANEL = 6, ROWS = NARROW ? 6 : 4, TAPS = 8, FILTERS = 4, POOL = 4;
constexpr int UNITS = 22;                 // of a window: 11 pixels, both channels of each
constexpr int OUTPUTS = POOL * FILTERS;   // of the second convolution under one pool
constexpr int AT_ONCE = NARROW ? 4 : OUTPUTS;
constexpr int PACKS = FILTERS / PER_PACK;
constexpr int CHUNK = 64;                 // positions at a time: all passes go by while they are in cache
constexpr int DEPTH = 64;                 // rows of a panel at a time

inline size_t round_up(size_t n) { return (n + LANES - 1) / LANES * LANES; }

}  // namespace

extern "C" {

struct Element {
    int n_window, hidden1, hidden2, label, unit;  // widths; row of the label; first of its units
    const int32_t *pixels;
    const float *kernel1, *bias1, *back1;  // back: the transposed matrix
    const float *kernel2, *bias2, *back2, *value;
    const uint16_t *keep1, *keep2;  // a bit per unit, passes first
};

struct Network {
    int C, J, width, S, hidden, last, n_units, n_outputs, n_shared, n_labels, n_elements;
    float keep_rate;
    const float *conv1, *conv1_bias;           // (taps, 2)
    const float *window, *conv2_bias;          // (units and a constant 1, outputs), units scaled by 1 / keep_rate; (4,)
    const float *conv2_to;                     // the second convolution transposed, (tap of pool, 4, 24)
    const int32_t *starts;                     // first word of every chunk and pass, and the end
    const uint32_t *dropped;                   // bits of a position's dropped units, dropped outputs, place in its chunk
    const Packed *dense1_packed;               // scaled by 1 / keep_rate
    const float *dense1, *back1, *bias1;
    const uint16_t *keep_hidden;
    const float *dense2, *back2, *bias2;  // dense2 and back2 scaled by 1 / keep_rate, as all second layers are
    const float *heads, *heads_bias;
    const float *shared, *shares;  // (n_shared, last), (n_labels, n_shared)
    const Element *elements;
};

}  // extern "C"

namespace {

// Of a panel NV vectors wide, W of them at a time.
constexpr int at_a_time(int NV) { return NARROW ? 1 : NV; }

template <int M, int NV>
void multiply_tile(const float *a, size_t lda, int depth, const float *b, float *c, size_t ldc) {
    constexpr int W = at_a_time(NV);
    Vec sum[M][W];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < W; ++v) sum[i][v] = load(c + i * ldc + LANES * v);
    for (int k = 0; k < depth; ++k, b += LANES * NV) {
        Vec row[W];
        for (int v = 0; v < W; ++v) row[v] = load(b + LANES * v);
        for (int i = 0; i < M; ++i) {
            const Vec x = all(a[i * lda + k]);
            for (int v = 0; v < W; ++v) sum[i][v] = fma(x, row[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < W; ++v) store(c + i * ldc + LANES * v, sum[i][v]);
}

template <int NV>
void multiply_panel(int m, int depth, const float *a, size_t lda, const float *b, float *c, size_t ldc) {
    for (int k = 0; k < depth; k += DEPTH) {
        const int n = depth - k < DEPTH ? depth - k : DEPTH;
        for (int v = 0; v < NV; v += at_a_time(NV)) {
            const float *from = b + (size_t)k * LANES * NV + LANES * v;
            int i = 0;
            for (; i + ROWS <= m; i += ROWS)
                multiply_tile<ROWS, NV>(a + i * lda + k, lda, n, from, c + i * ldc + LANES * v, ldc);
            for (; i < m; ++i) multiply_tile<1, NV>(a + i * lda + k, lda, n, from, c + i * ldc + LANES * v, ldc);
        }
    }
}

// c (m, columns) = bias + a (m, depth) times the panels of b; columns is a multiple of 16.
void multiply(int m, int columns, int depth, const float *a, size_t lda, const float *b, const float *bias, float *c,
              size_t ldc) {
    for (int i = 0; i < m; ++i) {
        if (bias)
            memcpy(c + i * ldc, bias, sizeof(float) * columns);
        else
            memset(c + i * ldc, 0, sizeof(float) * columns);
    }
    for (int first = 0; first < columns; first += LANES * PANEL) {
        const int nv = (columns - first) / LANES;
        switch (nv < PANEL ? nv : PANEL) {
            case 1: multiply_panel<1>(m, depth, a, lda, b, c + first, ldc); break;
            case 2: multiply_panel<2>(m, depth, a, lda, b, c + first, ldc); break;
            case 3: multiply_panel<3>(m, depth, a, lda, b, c + first, ldc); break;
            case 4: multiply_panel<4>(m, depth, a, lda, b, c + first, ldc); break;
            case 5: multiply_panel<5>(m, depth, a, lda, b, c + first, ldc); break;
            default: multiply_panel<PANEL>(m, depth, a, lda, b, c + first, ldc);
        }
        b += (size_t)depth * LANES * PANEL;
    }
}

// ReLU, and 0 where a unit is dropped; without ``keep`` all are kept.
void rectify(float *x, size_t n, const uint16_t *keep) {
    for (size_t i = 0; i < n; i += LANES)
        store(x + i, only(lanes(keep ? keep[i / LANES] : 0xFFFF), larger(load(x + i), zero())));
}

// x where y is positive, else 0, times a number.
void gate(float *x, const float *y, size_t n, float factor) {
    for (size_t i = 0; i < n; ++i) x[i] = y[i] > 0 ? x[i] * factor : 0.0f;
}

// ---- what no dropout touches --------------------------------------------------------------------------------------

// Pixel q of channel i is woven[2 (q + 3) + i]; zero outside of the spectrum.
void first_convolution(const Network &net, const float *x, float *padded, float *plain, float *woven) {
    const int C = net.C, width = net.width;
    memset(padded, 0, sizeof(float) * width);
    memcpy(padded + 3, x, sizeof(float) * C);
    memset(woven, 0, sizeof(float) * 2 * width);
    for (int i = 0; i < 2; ++i) {
        for (int q = 0; q < C; q += LANES) {  // the last of them writes into what is beyond the spectrum
            Vec sum = all(net.conv1_bias[i]);
            for (int t = 0; t < TAPS; ++t) sum = fma(load(padded + q + t), all(net.conv1[2 * t + i]), sum);
            store(plain + q, larger(sum, zero()));
        }
        for (int q = 0; q < C; ++q) woven[2 * (q + 3) + i] = plain[q];
    }
}

// ---- dropout passes -----------------------------------------------------------------------------------------------

// A chunk of positions, a spectrum to a lane. The masks are the same for all spectra, so a pass is a list of what it
// drops: it changes the outputs that saw a dropped unit, and positions that lost nothing have no work at all.
struct Chunk {
    float window[2 * (POOL * CHUNK + TAPS)][LANES];  // unit u of position j is number 8 j + u
    float outputs[CHUNK][OUTPUTS][LANES];            // nothing dropped, as is the next
    float pooled[CHUNK][FILTERS][LANES];
    Packed change[CHUNK][PACKS][LANES];              // pooled units of a pass minus the above
    uint8_t place[CHUNK];                            // of the positions that changed
};

inline Vec top_of(const Vec *outputs, int c) {
    return larger(larger(outputs[c], outputs[4 + c]), larger(outputs[8 + c], outputs[12 + c]));
}

void fill(const Network &net, Chunk &chunk, const float *woven, int first, int n) {
    for (int u = 0; u < 2 * (POOL * CHUNK + TAPS); ++u)
        for (int g = 0; g < n; ++g) chunk.window[u][g] = woven[(size_t)g * 2 * net.width + 8 * first + u];
    for (int j = 0; j < CHUNK; ++j) {
        Vec outputs[OUTPUTS];
        for (int first_o = 0; first_o < OUTPUTS; first_o += AT_ONCE) {
            const float *weights = net.window + first_o;
            Vec sum[AT_ONCE];
            for (int o = 0; o < AT_ONCE; ++o) sum[o] = all(weights[UNITS * OUTPUTS + o]);
            for (int u = 0; u < UNITS; ++u) {
                const Vec x = load(chunk.window[8 * j + u]);
                for (int o = 0; o < AT_ONCE; ++o) sum[o] = fma(x, all(weights[u * OUTPUTS + o]), sum[o]);
            }
            for (int o = 0; o < AT_ONCE; ++o) outputs[first_o + o] = sum[o];
        }
        for (int o = 0; o < OUTPUTS; ++o) store(chunk.outputs[j][o], outputs[o]);
        for (int c = 0; c < FILTERS; ++c) store(chunk.pooled[j][c], larger(top_of(outputs, c), zero()));
    }
}

// Pooled units (4 j + channel) of every spectrum: ``whole`` of passes that drop nothing, ``off`` of the network without
// dropout; and which pixel under the pool won.
void store_pooled(const Network &net, const Chunk &chunk, int first, int n, float *off, float *whole, uint8_t *winner) {
    const int F = FILTERS * net.J, F_wide = round_up(F), count = net.J - first < CHUNK ? net.J - first : CHUNK;
    for (int j = 0; j < count; ++j)
        for (int c = 0; c < FILTERS; ++c)
            for (int g = 0; g < n; ++g) {
                float top = chunk.outputs[j][c][g];
                uint8_t at = 0;
                for (int k = 1; k < POOL; ++k) {
                    const float next = chunk.outputs[j][FILTERS * k + c][g];
                    at = next > top ? k : at;
                    top = next > top ? next : top;
                }
                const size_t to = FILTERS * (first + j) + c;
                const float unscaled = (top - net.conv2_bias[c]) * net.keep_rate + net.conv2_bias[c];
                off[g * (size_t)F_wide + to] = unscaled > 0 ? unscaled : 0.0f;
                whole[g * (size_t)F_wide + to] = top > 0 ? top : 0.0f;
                winner[g * (size_t)F + to] = at;
            }
}

// What a pass changes in the pooled units of a chunk; the number of positions.
int drop(const Network &net, Chunk &chunk, const uint32_t *words, int n_words) {
    for (int a = 0; a < n_words; ++a) {
        const uint32_t word = words[a], j = word >> 26;
        Vec outputs[OUTPUTS];
        for (int first_o = 0; first_o < OUTPUTS; first_o += AT_ONCE) {
            const float *weights = net.window + first_o;
            Vec sum[AT_ONCE];
            for (int o = 0; o < AT_ONCE; ++o) sum[o] = load(chunk.outputs[j][first_o + o]);
            for (uint32_t bits = word & ((1u << UNITS) - 1); bits; bits &= bits - 1) {
                const int u = __builtin_ctz(bits);
                const Vec x = load(chunk.window[8 * j + u]);
                for (int o = 0; o < AT_ONCE; ++o) sum[o] = fnma(x, all(weights[u * OUTPUTS + o]), sum[o]);
            }
            for (int o = 0; o < AT_ONCE; ++o) outputs[first_o + o] = sum[o];
        }
        Vec change[FILTERS];
        for (int c = 0; c < FILTERS; ++c) {
            const Mask kept = lanes((word >> (UNITS + c)) & 1 ? 0 : 0xFFFF);
            change[c] = minus(only(kept, larger(top_of(outputs, c), zero())), load(chunk.pooled[j][c]));
        }
        for (int h = 0; h < PACKS; ++h) store_pack(chunk.change[a][h], change + PER_PACK * h);
        chunk.place[a] = j;
    }
    return n_words;
}

// c (M spectra, panel) += changes times the panel's rows of the positions that changed.
template <int M, int NV>
void multiply_changes(const Chunk &chunk, int g, int n_words, const Packed *panel, float *c, size_t ldc) {
    constexpr int W = at_a_time(NV);
    for (int first = 0; first < NV; first += W, c += LANES * W) {
        Vec sum[M][W];
        for (int i = 0; i < M; ++i)
            for (int v = 0; v < W; ++v) sum[i][v] = load(c + i * ldc + LANES * v);
        for (int a = 0; a < n_words; ++a)
            for (int h = 0; h < PACKS; ++h) {
                const Packed *from = panel + (size_t)(chunk.place[a] * PACKS + h) * LANES * NV + LANES * first;
                Pack row[W];
                for (int v = 0; v < W; ++v) row[v] = load_pack(from + LANES * v);
                for (int i = 0; i < M; ++i) {
                    const Pack x = all_packs(chunk.change[a][h][g + i]);
                    for (int v = 0; v < W; ++v) sum[i][v] = fma_packs(x, row[v], sum[i][v]);
                }
            }
        for (int i = 0; i < M; ++i)
            for (int v = 0; v < W; ++v) store(c + i * ldc + LANES * v, sum[i][v]);
    }
}

// The same of spectra g to n, M at a time.
template <int NV, int M = ROWS>
void multiply_spectra(const Chunk &chunk, int g, int n, int n_words, const Packed *panel, float *c, size_t ldc) {
    for (; n - g >= M; g += M) multiply_changes<M, NV>(chunk, g, n_words, panel, c + g * ldc, ldc);
    if constexpr (M > 1)
        if (g < n) multiply_spectra<NV, M - 1>(chunk, g, n, n_words, panel, c, ldc);
}

// The first dense layer of every pass minus that of one that drops nothing, (n, S, hidden), and the pooled units of
// ``store_pooled``. The difference is small and sparse: in bfloat16 little is lost, and most passes skip most work.
void convolve(const Network &net, const float *woven, int n, Chunk &chunk, float *pooled, uint8_t *winner, float *hidden) {
    const int S = net.S, H = net.hidden, F_wide = round_up(FILTERS * net.J);
    memset(hidden, 0, sizeof(float) * n * S * H);
    memset(chunk.window, 0, sizeof chunk.window);
    const Packed *weights = net.dense1_packed;
    for (int first = 0, at = 0; first < net.J; first += CHUNK, weights += (size_t)CHUNK * PACKS * H) {
        fill(net, chunk, woven, first, n);
        store_pooled(net, chunk, first, n, pooled, pooled + (size_t)n * F_wide, winner);
        for (int s = 0; s < S; ++s, ++at) {
            const int n_words = drop(net, chunk, net.dropped + net.starts[at], net.starts[at + 1] - net.starts[at]);
            const Packed *panel = weights;
            for (int v = 0; v < H; v += LANES * PANEL) {
                const int nv = (H - v) / LANES < PANEL ? (H - v) / LANES : PANEL;
                float *c = hidden + (size_t)s * H + v;
                const size_t ldc = (size_t)S * H;
                switch (nv) {
                    case 1: multiply_spectra<1>(chunk, 0, n, n_words, panel, c, ldc); break;
                    case 2: multiply_spectra<2>(chunk, 0, n, n_words, panel, c, ldc); break;
                    case 3: multiply_spectra<3>(chunk, 0, n, n_words, panel, c, ldc); break;
                    case 4: multiply_spectra<4>(chunk, 0, n, n_words, panel, c, ldc); break;
                    case 5: multiply_spectra<5>(chunk, 0, n, n_words, panel, c, ldc); break;
                    default: multiply_spectra<PANEL>(chunk, 0, n, n_words, panel, c, ldc);
                }
                panel += (size_t)CHUNK * PACKS * LANES * nv;
            }
        }
    }
}

// Everything behind the first dense layer, of one spectrum; ``whole`` is that layer when nothing is dropped before it,
// ``first`` holds the elements' first layers.
void finish(const Network &net, float *hidden, const float *whole, const float *const *first, float *masked, float *units,
            float *out) {
    const int S = net.S, H = net.hidden;
    for (int s = 0; s < S; ++s) {
        for (int h = 0; h < H; ++h) hidden[(size_t)s * H + h] += whole[h];
        rectify(hidden + (size_t)s * H, H, net.keep_hidden + s * (H / LANES));
    }
    float *last = units + net.n_units - net.last;
    multiply(S, net.last, H, hidden, H, net.dense2, net.bias2, last, net.n_units);
    for (int s = 0; s < S; ++s) rectify(last + (size_t)s * net.n_units, net.last, nullptr);
    for (int e = 0; e < net.n_elements; ++e) {
        const Element &own = net.elements[e];
        for (int s = 0; s < S; ++s)
            for (int h = 0; h < own.hidden1; h += LANES)
                store(masked + (size_t)s * own.hidden1 + h, only(lanes(own.keep1[(s * own.hidden1 + h) / LANES]), load(first[e] + h)));
        multiply(S, own.hidden2, own.hidden1, masked, own.hidden1, own.kernel2, own.bias2, units + own.unit, net.n_units);
        for (int s = 0; s < S; ++s)
            rectify(units + (size_t)s * net.n_units + own.unit, own.hidden2, own.keep2 + s * (own.hidden2 / LANES));
    }
    multiply(S, net.n_outputs, net.n_units, units, net.n_units, net.heads, net.heads_bias, out, net.n_outputs);
}

// ---- photon term --------------------------------------------------------------------------------------------------

// Derivative with respect to the pixels, (C,), from that with respect to the pooled units of one spectrum.
void through_convolutions(const Network &net, const float *back, const float *pooled, const uint8_t *winner,
                          const float *woven, float *line, float *pixels) {
    const int width = net.width;
    // Block m of the line: pixels 4 m - 3 to 4 m, both channels. A position's window is three blocks.
    __m256 once = _mm256_setzero_ps(), twice = once, third = once;
    for (int j = 0; j < net.J + 2; ++j) {
        __m256 a = _mm256_setzero_ps(), b = a, c = a;
        if (j < net.J)
            for (int f = 0; f < FILTERS; ++f) {
                const int at = FILTERS * j + f;
                const __m256 x = _mm256_set1_ps(pooled[at] > 0 ? back[at] : 0.0f);
                const float *to = net.conv2_to + (winner[at] * FILTERS + f) * 24;
                a = _mm256_fmadd_ps(x, _mm256_loadu_ps(to), a);
                b = _mm256_fmadd_ps(x, _mm256_loadu_ps(to + 8), b);
                c = _mm256_fmadd_ps(x, _mm256_loadu_ps(to + 16), c);
            }
        const __m256 sum = _mm256_add_ps(_mm256_add_ps(a, once), twice);
        const __m256 lit = _mm256_cmp_ps(_mm256_loadu_ps(woven + 8 * j), _mm256_setzero_ps(), _CMP_GT_OQ);
        _mm256_storeu_ps(line + 8 * j, _mm256_and_ps(lit, sum));
        once = b;
        twice = third;
        third = c;
    }
    float *plane = line + 2 * width;
    memset(plane, 0, sizeof(float) * 2 * width);
    for (int q = 0; q < net.C; ++q) plane[q + 4] = line[2 * (q + 3)];
    for (int q = 0; q < net.C; ++q) plane[width + q + 4] = line[2 * (q + 3) + 1];
    for (int p = 0; p < net.C; p += LANES) {
        Vec sum = zero();
        for (int t = 0; t < TAPS; ++t)
            for (int i = 0; i < 2; ++i) sum = fma(load(plane + i * width + p + 7 - t), all(net.conv1[2 * t + i]), sum);
        store(pixels + p, sum);
    }
}

float weighted_product(const float *x, const float *y, const float *weight, int n) {
    Vec sum = zero();
    for (int i = 0; i < n; i += LANES) {
        const Mask inside = first_lanes(n - i);
        sum = fma(times(load(inside, x + i), load(inside, y + i)), load(inside, weight + i), sum);
    }
    return total(sum);
}

struct Scratch {
    char *next;
    template <class T> T *take(size_t n) {
        T *here = (T *)next;
        next += (n * sizeof(T) + 63) / 64 * 64;
        return here;
    }
};

// Variance of every label from the noise of the pixels: shares' (D V D') shares plus what an element's window adds.
void label_variances(const Network &net, const float *shared, const float *const *windows, const float *noise, double *out) {
    const int R = net.n_shared;
    const size_t C_wide = round_up(net.C);
    double product[32][32];
    for (int r = 0; r < R; ++r)
        for (int q = r; q < R; ++q)
            product[r][q] = product[q][r] = weighted_product(shared + r * C_wide, shared + q * C_wide, noise, net.C);
    for (int l = 0; l < net.n_labels; ++l) {
        const float *share = net.shares + l * R;
        out[l] = 0;
        for (int r = 0; r < R; ++r)
            for (int q = 0; q < R; ++q) out[l] += (double)share[r] * share[q] * product[r][q];
    }
    for (int e = 0; e < net.n_elements; ++e) {
        const Element &own = net.elements[e];
        const float *share = net.shares + own.label * R;
        double sum = 0;
        for (int w = 0; w < own.n_window; ++w) {
            const int p = own.pixels[w];
            float common = 0;
            for (int r = 0; r < R; ++r) common = __builtin_fmaf(share[r], shared[r * C_wide + p], common);
            sum += (double)noise[p] * windows[e][w] * (windows[e][w] + 2.0f * common);
        }
        out[own.label] += sum;
    }
}

void photon(const Network &net, int n, const float *const *first, const float *woven, const float *noise,
            const float *pooled, const uint8_t *winner, const float *hidden, Scratch scratch, double *out) {
    const int width = net.width, F = 4 * net.J, F_wide = round_up(F), H = net.hidden, D = net.last, R = net.n_shared, C_wide = round_up(net.C);
    float *lit = scratch.take<float>(n * H), *last = scratch.take<float>(n * D);
    float *shared = scratch.take<float>(n * R * D), *back = scratch.take<float>(n * R * H);
    float *features = scratch.take<float>((size_t)n * R * F_wide), *line = scratch.take<float>(4 * width);
    float *pixels = scratch.take<float>((size_t)R * C_wide);
    for (int i = 0; i < n * H; ++i) lit[i] = hidden[i] > 0 ? hidden[i] * net.keep_rate : 0.0f;
    multiply(n, D, H, lit, H, net.dense2, net.bias2, last, D);
    for (int g = 0; g < n; ++g)
        for (int r = 0; r < R; ++r) {
            memcpy(shared + (g * R + r) * D, net.shared + r * D, sizeof(float) * D);
            gate(shared + (g * R + r) * D, last + g * D, D, 1.0f);
        }
    multiply(n * R, H, D, shared, D, net.back2, nullptr, back, H);
    for (int g = 0; g < n; ++g)
        for (int r = 0; r < R; ++r) gate(back + (g * R + r) * H, hidden + g * H, H, net.keep_rate);
    multiply(n * R, F_wide, H, back, H, net.back1, nullptr, features, F_wide);

    float **windows = scratch.take<float *>(net.n_elements + 1);
    const float **one = scratch.take<const float *>(net.n_elements + 1);
    for (int e = 0; e < net.n_elements; ++e) {
        const Element &own = net.elements[e];
        const int W = round_up(own.n_window), H1 = own.hidden1, H2 = own.hidden2;
        windows[e] = scratch.take<float>((size_t)n * W);
        Scratch inner = scratch;
        float *scaled = inner.take<float>(n * H1), *second = inner.take<float>(n * H2);
        for (int i = 0; i < n * H1; ++i) scaled[i] = first[e][i] * net.keep_rate;
        multiply(n, H2, H1, scaled, H1, own.kernel2, own.bias2, second, H2);
        for (int i = 0; i < n * H2; ++i) second[i] = second[i] > 0 ? own.value[i % H2] : 0.0f;
        multiply(n, H1, H2, second, H2, own.back2, nullptr, scaled, H1);
        gate(scaled, first[e], n * H1, net.keep_rate);
        multiply(n, W, H1, scaled, H1, own.back1, nullptr, windows[e], W);
    }
    for (int g = 0; g < n; ++g) {
        for (int r = 0; r < R; ++r)
            through_convolutions(net, features + (size_t)(g * R + r) * F_wide, pooled + (size_t)g * F_wide,
                                 winner + (size_t)g * F, woven + (size_t)g * 2 * width, line, pixels + (size_t)r * C_wide);
        for (int e = 0; e < net.n_elements; ++e) one[e] = windows[e] + (size_t)g * round_up(net.elements[e].n_window);
        label_variances(net, pixels, one, noise + (size_t)g * net.C, out + g * net.n_labels);
    }
}

}  // namespace

extern "C" {

// Bytes of scratch memory for a group of n spectra; a generous bound.
size_t scratch_bytes(const Network *net, int n) {
    const size_t width = net->width, S = net->S, F = round_up(4 * net->J), R = net->n_shared, spectra = n;
    size_t numbers = spectra * 2 * width + 6 * width + S * net->n_units + R * round_up(net->C) + sizeof(Chunk) / sizeof(float);
    numbers += spectra * (S * net->hidden + 3 * F + 3 * net->hidden + net->last + R * (F + net->hidden + net->last));
    size_t widest = 0, units = 0;
    for (int e = 0; e < net->n_elements; ++e) {
        const Element &own = net->elements[e];
        const size_t w = round_up(own.n_window);
        widest = widest < w ? w : widest;
        units = units < (size_t)own.hidden1 ? own.hidden1 : units;
        numbers += spectra * (w + own.hidden1);
    }
    numbers += spectra * (widest + 2 * units) + S * units;
    return sizeof(float) * numbers + 64 * (64 + net->n_elements * 4);
}

// Every pass of n spectra.
//   x (n, C) network inputs; noise (n, C) relative variances of the pixels;
//   outputs (n, S, n_outputs) standardised values, log-variances; variance (n, n_labels) in units of the noise.
void run_group(const Network *network, int n, const float *x, const float *noise, float *outputs, double *variance,
               char *memory) {
    const Network &net = *network;
    const size_t width = net.width, F = FILTERS * net.J, F_wide = round_up(F), H = net.hidden;
    Scratch scratch{memory};
    float *padded = scratch.take<float>(width), *plain = scratch.take<float>(width);
    float *woven = scratch.take<float>(n * 2 * width);
    for (int g = 0; g < n; ++g)
        first_convolution(net, x + (size_t)g * net.C, padded, plain, woven + g * 2 * width);
    const float **first = scratch.take<const float *>(net.n_elements + 1), **one = scratch.take<const float *>(net.n_elements + 1);
    int widest = LANES;
    for (int e = 0; e < net.n_elements; ++e) {
        const Element &own = net.elements[e];
        float *units = scratch.take<float>((size_t)n * own.hidden1);
        Scratch inner = scratch;
        float *window = inner.take<float>((size_t)n * own.n_window);
        for (int g = 0; g < n; ++g)
            for (int w = 0; w < own.n_window; ++w) window[(size_t)g * own.n_window + w] = x[(size_t)g * net.C + own.pixels[w]];
        multiply(n, own.hidden1, own.n_window, window, own.n_window, own.kernel1, own.bias1, units, own.hidden1);
        rectify(units, (size_t)n * own.hidden1, nullptr);
        first[e] = units;
        widest = own.hidden1 > widest ? own.hidden1 : widest;
    }
    float *pooled = scratch.take<float>(2 * n * F_wide), *dense = scratch.take<float>(2 * n * H);
    uint8_t *winner = scratch.take<uint8_t>(n * F);
    float *hidden = scratch.take<float>((size_t)n * net.S * H);
    convolve(net, woven, n, *scratch.take<Chunk>(1), pooled, winner, hidden);
    multiply(2 * n, H, F, pooled, F_wide, net.dense1, nullptr, dense, H);
    for (size_t i = 0; i < 2 * n * H; ++i) dense[i] = (i < n * H ? dense[i] : dense[i] / net.keep_rate) + net.bias1[i % H];
    photon(net, n, first, woven, noise, pooled, winner, dense, scratch, variance);
    float *masked = scratch.take<float>((size_t)net.S * widest), *units = scratch.take<float>((size_t)net.S * net.n_units);
    for (int g = 0; g < n; ++g) {
        for (int e = 0; e < net.n_elements; ++e) one[e] = first[e] + (size_t)g * net.elements[e].hidden1;
        finish(net, hidden + g * net.S * H, dense + (n + g) * H, one, masked, units, outputs + (size_t)g * net.S * net.n_outputs);
    }
}

}  // extern "C"
