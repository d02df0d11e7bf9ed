// The dropout passes and the photon term of a group of spectra, for processors with AVX512-BF16.
//
// Compiled and called by engine_kernel.py, which lays out the weights. A spectrum's arithmetic is the same whatever
// spectra are beside it: every sum runs in one fixed order. Products with the first dense layer and the second
// convolution are taken in bfloat16 and summed in float32; all else, the photon term included, is float32.
//
// Letters: C pixels, J pooled positions, S passes (a multiple of 4), n spectra. Widths of layers are multiples of 16.
// A "panel" holds up to 96 columns of a matrix, row after row: what one pass over memory needs.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

constexpr int LANES = 16, PANEL = 6, ROWS = 4, TAPS = 8, FILTERS = 4, WINDOW = 11;
constexpr int BLOCKS = 2;   // of 16 positions at a time: their weights and features stay in the first cache
constexpr int PASSES = 20;  // passes at a time, for the same reason
constexpr int PAIRS = LANES * FILTERS / 2;
constexpr int DEPTH = 64;   // rows of a panel at a time

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
    int C, J, stride, S, hidden, last, n_units, n_outputs, n_shared, n_labels, n_elements;
    float keep_rate;
    const float *conv1, *conv1_bias;             // (taps, 2)
    const uint32_t *conv2_pairs;                 // (taps, 4) pairs of bfloat16, scaled by 1 / keep_rate
    const float *conv2, *conv2_bias, *conv2_to;  // (taps, 2, 4); its transposed, (tap of pool, 4, 24)
    const uint32_t *keep_window, *keep_pooled;   // (blocks, S, 11) and (blocks, S, 2): a bit per number
    const uint32_t *dense1_pairs;
    const float *passes_bias1;  // gives back what rounding loses on average
    const float *dense1, *back1, *bias1;
    const uint16_t *keep_hidden;
    const float *dense2, *back2, *bias2;  // dense2 and back2 scaled by 1 / keep_rate, as all second layers are
    const float *heads, *heads_bias;
    const float *shared, *shares;  // (n_shared, last), (n_labels, n_shared)
    const Element *elements;
};

}  // extern "C"

namespace {

template <int M, int NV>
void multiply_tile(const float *a, size_t lda, int depth, const float *b, float *c, size_t ldc) {
    __m512 sum[M][NV];
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < NV; ++v) sum[i][v] = _mm512_loadu_ps(c + i * ldc + LANES * v);
    for (int k = 0; k < depth; ++k, b += LANES * NV) {
        __m512 row[NV];
        for (int v = 0; v < NV; ++v) row[v] = _mm512_loadu_ps(b + LANES * v);
        for (int i = 0; i < M; ++i) {
            const __m512 x = _mm512_set1_ps(a[i * lda + k]);
            for (int v = 0; v < NV; ++v) sum[i][v] = _mm512_fmadd_ps(x, row[v], sum[i][v]);
        }
    }
    for (int i = 0; i < M; ++i)
        for (int v = 0; v < NV; ++v) _mm512_storeu_ps(c + i * ldc + LANES * v, sum[i][v]);
}

template <int NV>
void multiply_panel(int m, int depth, const float *a, size_t lda, const float *b, float *c, size_t ldc) {
    for (int k = 0; k < depth; k += DEPTH) {
        const int n = depth - k < DEPTH ? depth - k : DEPTH;
        int i = 0;
        for (; i + ROWS <= m; i += ROWS)
            multiply_tile<ROWS, NV>(a + i * lda + k, lda, n, b + (size_t)k * LANES * NV, c + i * ldc, ldc);
        for (; i < m; ++i)
            multiply_tile<1, NV>(a + i * lda + k, lda, n, b + (size_t)k * LANES * NV, c + i * ldc, ldc);
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
    const __m512 zero = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) {
        const __mmask16 kept = keep ? keep[i / LANES] : 0xFFFF;
        _mm512_storeu_ps(x + i, _mm512_maskz_max_ps(kept, _mm512_loadu_ps(x + i), zero));
    }
}

// x where y is positive, else 0, times a number.
void gate(float *x, const float *y, size_t n, float factor) {
    for (size_t i = 0; i < n; ++i) x[i] = y[i] > 0 ? x[i] * factor : 0.0f;
}

// ---- what no dropout touches --------------------------------------------------------------------------------------

// Pixel q of channel i: plain[i * width + q + 4], woven[2 (q + 3) + i], and as pairs of bfloat16 at
// phases[(q % 4) * stride + q / 4 + 1]. Zero outside of the spectrum.
void first_convolution(const Network &net, const float *x, float *padded, float *plain, float *woven, uint32_t *phases) {
    const int C = net.C, width = net.stride * 4;
    memset(padded, 0, sizeof(float) * width);
    memcpy(padded + 3, x, sizeof(float) * C);
    memset(plain, 0, sizeof(float) * 2 * width);
    memset(woven, 0, sizeof(float) * 2 * width);
    memset(phases, 0, sizeof(uint32_t) * width);
    for (int i = 0; i < 2; ++i) {
        float *out = plain + i * width + 4;
        for (int q = 0; q < C; q += LANES) {  // the last of them writes into what is beyond the spectrum
            __m512 sum = _mm512_set1_ps(net.conv1_bias[i]);
            for (int t = 0; t < TAPS; ++t)
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(padded + q + t), _mm512_set1_ps(net.conv1[2 * t + i]), sum);
            _mm512_storeu_ps(out + q, _mm512_max_ps(sum, _mm512_setzero_ps()));
        }
        memset(out + C, 0, sizeof(float) * LANES);
        for (int q = 0; q < C; ++q) woven[2 * (q + 3) + i] = out[q];
    }
    for (int q = 0; q < C; q += 8) {
        alignas(64) uint32_t pair[8];
        _mm256_store_si256((__m256i *)pair, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(woven + 2 * (q + 3))));
        for (int k = 0; k < 8; ++k) phases[((q + k) & 3) * net.stride + ((q + k) >> 2) + 1] = pair[k];
    }
}

// Second convolution without dropout: its pooled units (4 j + channel), and which pixel under the pool won.
void features_without_dropout(const Network &net, const float *plain, float *all, float *pooled, uint8_t *winner) {
    const int width = net.stride * 4, n = 4 * net.J;
    for (int c = 0; c < FILTERS; ++c)
        for (int q = 0; q < n; q += LANES) {
            __m512 sum = _mm512_set1_ps(net.conv2_bias[c]);
            for (int t = 0; t < TAPS; ++t)
                for (int i = 0; i < 2; ++i)
                    sum = _mm512_fmadd_ps(_mm512_loadu_ps(plain + i * width + q + t + 1),
                                          _mm512_set1_ps(net.conv2[(2 * t + i) * FILTERS + c]), sum);
            _mm512_storeu_ps(all + c * width + q, sum);
        }
    for (int c = 0; c < FILTERS; ++c)
        for (int j = 0; j < net.J; ++j) {
            const float *four = all + c * width + 4 * j;
            float top = four[0];
            uint8_t at = 0;
            for (int k = 1; k < 4; ++k) {
                at = four[k] > top ? k : at;
                top = four[k] > top ? four[k] : top;
            }
            pooled[FILTERS * j + c] = top > 0 ? top : 0.0f;
            winner[FILTERS * j + c] = at;
        }
}

// ---- dropout passes -----------------------------------------------------------------------------------------------

// Sixteen positions of one pass: masks, second convolution, ReLU, pool, masks; 64 units as pairs of bfloat16.
inline void pooled_units(const uint32_t *phase, int stride, const uint32_t *keep_window, const uint32_t *keep_pooled,
                         const uint32_t *weights, const float *bias, uint32_t *out) {
    __m512bh in[WINDOW];
    for (int d = 0; d < WINDOW; ++d) {
        const int q = d + 1;  // pixel 4 j - 3 + d is number q % 4 of block j - 1 + q / 4
        in[d] = (__m512bh)_mm512_maskz_loadu_epi16(keep_window[d], phase + (q & 3) * stride + (q >> 2));
    }
    __m512 top[FILTERS];
    for (int c = 0; c < FILTERS; c += 2) {
        __m512 sum[2][4];
        for (int e = 0; e < 2; ++e)
            for (int k = 0; k < 4; ++k) sum[e][k] = _mm512_set1_ps(bias[c + e]);
        for (int t = 0; t < TAPS; ++t)
            for (int e = 0; e < 2; ++e) {
                const __m512bh w = (__m512bh)_mm512_set1_epi32(weights[t * FILTERS + c + e]);
                for (int k = 0; k < 4; ++k) sum[e][k] = _mm512_dpbf16_ps(sum[e][k], in[k + t], w);
            }
        for (int e = 0; e < 2; ++e)
            top[c + e] = _mm512_max_ps(_mm512_max_ps(_mm512_max_ps(sum[e][0], sum[e][1]), _mm512_max_ps(sum[e][2], sum[e][3])),
                                       _mm512_setzero_ps());
    }
    for (int h = 0; h < 2; ++h)
        _mm512_storeu_si512(out + LANES * h,
                            (__m512i)_mm512_maskz_cvtne2ps_pbh(keep_pooled[h], top[2 * h + 1], top[2 * h]));
}

template <int NV>
void multiply_pairs(const uint32_t *a, const uint32_t *b, float *c, int ldc) {
    constexpr int depth = BLOCKS * PAIRS;
    __m512 sum[ROWS][NV];
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < NV; ++v) sum[i][v] = _mm512_loadu_ps(c + i * ldc + LANES * v);
    for (int k = 0; k < depth; ++k, b += LANES * NV) {
        __m512bh row[NV];
        for (int v = 0; v < NV; ++v) row[v] = (__m512bh)_mm512_loadu_si512(b + LANES * v);
        for (int i = 0; i < ROWS; ++i) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32(a[i * depth + k]);
            for (int v = 0; v < NV; ++v) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], x, row[v]);
        }
    }
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < NV; ++v) _mm512_storeu_ps(c + i * ldc + LANES * v, sum[i][v]);
}

// The first dense layer of every pass, before its bias, (n, S, hidden); positions outermost, weights read once a group.
void convolve(const Network &net, const uint32_t *phases, int n, uint32_t *features, float *hidden) {
    const int S = net.S, H = net.hidden, n_blocks = (net.J + LANES - 1) / LANES;
    memset(hidden, 0, sizeof(float) * n * S * H);
    for (int b0 = 0; b0 < n_blocks; b0 += BLOCKS)
        for (int g = 0; g < n; ++g)
            for (int first = 0; first < S; first += PASSES) {
                const int n_s = S - first < PASSES ? S - first : PASSES;
                for (int s = 0; s < n_s; ++s)
                    for (int b = 0; b < BLOCKS; ++b) {
                        const size_t at = (size_t)(b0 + b) * S + first + s;
                        pooled_units(phases + (size_t)g * 4 * net.stride + LANES * (b0 + b), net.stride,
                                     net.keep_window + WINDOW * at, net.keep_pooled + 2 * at, net.conv2_pairs,
                                     net.conv2_bias, features + (s * BLOCKS + b) * PAIRS);
                    }
                const uint32_t *w = net.dense1_pairs + (size_t)b0 * PAIRS * H;
                for (int v = 0; v < H; v += LANES * PANEL) {
                    const int nv = (H - v) / LANES < PANEL ? (H - v) / LANES : PANEL;
                    for (int s = 0; s < n_s; s += ROWS) {
                        float *c = hidden + ((size_t)g * S + first + s) * H + v;
                        const uint32_t *a = features + s * BLOCKS * PAIRS;
                        switch (nv) {
                            case 1: multiply_pairs<1>(a, w, c, H); break;
                            case 2: multiply_pairs<2>(a, w, c, H); break;
                            case 3: multiply_pairs<3>(a, w, c, H); break;
                            case 4: multiply_pairs<4>(a, w, c, H); break;
                            case 5: multiply_pairs<5>(a, w, c, H); break;
                            default: multiply_pairs<PANEL>(a, w, c, H);
                        }
                    }
                    w += (size_t)BLOCKS * PAIRS * LANES * nv;
                }
            }
}

// Everything behind the first dense layer, of one spectrum; ``first`` holds the elements' first layers.
void finish(const Network &net, float *hidden, const float *const *first, float *masked, float *units, float *out) {
    const int S = net.S, H = net.hidden;
    for (int s = 0; s < S; ++s) {
        for (int h = 0; h < H; ++h) hidden[(size_t)s * H + h] += net.passes_bias1[h];
        rectify(hidden + (size_t)s * H, H, net.keep_hidden + s * (H / LANES));
    }
    float *last = units + net.n_units - net.last;
    multiply(S, net.last, H, hidden, H, net.dense2, net.bias2, last, net.n_units);
    for (int s = 0; s < S; ++s) rectify(last + (size_t)s * net.n_units, net.last, nullptr);
    for (int e = 0; e < net.n_elements; ++e) {
        const Element &own = net.elements[e];
        for (int s = 0; s < S; ++s)
            for (int h = 0; h < own.hidden1; h += LANES)
                _mm512_storeu_ps(masked + (size_t)s * own.hidden1 + h,
                                 _mm512_maskz_loadu_ps(own.keep1[(s * own.hidden1 + h) / LANES], first[e] + h));
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
    const int width = net.stride * 4;
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
        const __mmask8 lit = _mm256_cmp_ps_mask(_mm256_loadu_ps(woven + 8 * j), _mm256_setzero_ps(), _CMP_GT_OQ);
        _mm256_storeu_ps(line + 8 * j, _mm256_maskz_mov_ps(lit, sum));
        once = b;
        twice = third;
        third = c;
    }
    float *plane = line + 2 * width;
    memset(plane, 0, sizeof(float) * 2 * width);
    for (int q = 0; q < net.C; ++q) plane[q + 4] = line[2 * (q + 3)];
    for (int q = 0; q < net.C; ++q) plane[width + q + 4] = line[2 * (q + 3) + 1];
    for (int p = 0; p < net.C; p += LANES) {
        __m512 sum = _mm512_setzero_ps();
        for (int t = 0; t < TAPS; ++t)
            for (int i = 0; i < 2; ++i)
                sum = _mm512_fmadd_ps(_mm512_loadu_ps(plane + i * width + p + 7 - t), _mm512_set1_ps(net.conv1[2 * t + i]), sum);
        _mm512_storeu_ps(pixels + p, sum);
    }
}

float weighted_product(const float *x, const float *y, const float *weight, int n) {
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < n; i += LANES) {
        const __mmask16 inside = n - i < LANES ? (1u << (n - i)) - 1 : 0xFFFF;
        const __m512 xy = _mm512_mul_ps(_mm512_maskz_loadu_ps(inside, x + i), _mm512_maskz_loadu_ps(inside, y + i));
        sum = _mm512_fmadd_ps(xy, _mm512_maskz_loadu_ps(inside, weight + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
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

void photon(const Network &net, int n, const float *const *first, const float *plain, const float *woven,
            const float *noise, Scratch scratch, double *out) {
    const int width = net.stride * 4, F = 4 * net.J, F_wide = round_up(F), H = net.hidden, D = net.last, R = net.n_shared, C_wide = round_up(net.C);
    float *pooled = scratch.take<float>((size_t)n * F_wide), *all = scratch.take<float>((size_t)FILTERS * width);
    uint8_t *winner = scratch.take<uint8_t>((size_t)n * F);
    float *hidden = scratch.take<float>(n * H), *lit = scratch.take<float>(n * H), *last = scratch.take<float>(n * D);
    float *shared = scratch.take<float>(n * R * D), *back = scratch.take<float>(n * R * H);
    float *features = scratch.take<float>((size_t)n * R * F_wide), *line = scratch.take<float>(4 * width);
    float *pixels = scratch.take<float>((size_t)R * C_wide);
    for (int g = 0; g < n; ++g)
        features_without_dropout(net, plain + (size_t)g * 2 * width, all, pooled + (size_t)g * F_wide, winner + (size_t)g * F);
    multiply(n, H, F, pooled, F_wide, net.dense1, net.bias1, hidden, H);
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
    const size_t width = net->stride * 4, S = net->S, F = round_up(4 * net->J), R = net->n_shared, spectra = n;
    size_t numbers = spectra * 5 * width + 12 * width + S * net->n_units + PASSES * BLOCKS * PAIRS + R * round_up(net->C);
    numbers += spectra * (S * net->hidden + 2 * F + 2 * net->hidden + net->last + R * (F + net->hidden + net->last));
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
    const size_t width = net.stride * 4;
    Scratch scratch{memory};
    float *padded = scratch.take<float>(width), *plain = scratch.take<float>(n * 2 * width);
    float *woven = scratch.take<float>(n * 2 * width);
    uint32_t *phases = scratch.take<uint32_t>(n * width);
    for (int g = 0; g < n; ++g)
        first_convolution(net, x + (size_t)g * net.C, padded, plain + g * 2 * width, woven + g * 2 * width, phases + g * width);
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
    photon(net, n, first, plain, woven, noise, scratch, variance);
    float *hidden = scratch.take<float>((size_t)n * net.S * net.hidden);
    convolve(net, phases, n, scratch.take<uint32_t>(PASSES * BLOCKS * PAIRS), hidden);
    float *masked = scratch.take<float>((size_t)net.S * widest), *units = scratch.take<float>((size_t)net.S * net.n_units);
    for (int g = 0; g < n; ++g) {
        for (int e = 0; e < net.n_elements; ++e) one[e] = first[e] + (size_t)g * net.elements[e].hidden1;
        finish(net, hidden + (size_t)g * net.S * net.hidden, one, masked, units, outputs + (size_t)g * net.S * net.n_outputs);
    }
}

}  // extern "C"
