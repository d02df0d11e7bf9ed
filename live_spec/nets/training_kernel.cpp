// The convolution stack of the networks in training: conv 1 -> 2, ReLU, dropout, conv 2 -> 4, max of four, ReLU; and its
// gradient. One pass over each spectrum, in registers, where a framework would write every layer to memory.
//
// Pixels are split by phase (pixel mod 4, the pool's width), so that sixteen pooled positions (eight, without AVX512) are
// one vector, every tap a contiguous read, and the pool a maximum of four registers. Pixel p is at [p % 4][p / 4 + 1]; zeros surround it.
// Forward keeps the hidden layer only: what the second convolution makes of it is cheaper made again than stored.
//
// Shape legend: n spectra, t taps, c hidden channels, o channels out, k phases, j blocks of four pixels.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int TAPS = 8, POOL = 4, CHANNELS = 2, FILTERS = 4, LEFT = 3;
#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;  // a vector wider than a register is taken apart in memory: six times as long
#endif
constexpr int SHIFTS = POOL + TAPS - 1;  // pixels that the four outputs of a block read
constexpr int WEIGHTS = TAPS * CHANNELS + CHANNELS + TAPS * CHANNELS * FILTERS + FILTERS;
constexpr int CHUNK = 4;  // spectra whose weight gradients are summed in one place, whatever the threads

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef int32_t Int __attribute__((vector_size(4 * LANES)));
typedef int16_t Short __attribute__((vector_size(2 * LANES)));

inline Vec load(const float *from) {
    Vec v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
inline void store(float *to, Vec v) { std::memcpy(to, &v, sizeof v); }
inline Vec where(Int yes, Vec v) { return (Vec)((Int)v & yes); }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline float sum(Vec v) {
    float total = 0;
    for (int i = 0; i < LANES; ++i) total += v[i];
    return total;
}

// Phase and block of the pixel `reach` after the first pixel that a block reads: -3 ... 7 from the block's own first.
constexpr int phase(int reach) { return (reach - LEFT + POOL) % POOL; }
constexpr int shift(int reach) { return (reach - LEFT + POOL) / POOL - 1; }

struct Weights {
    const float *kernel1, *bias1, *kernel2, *bias2;  // [t][c], [c], [t][c][o], [o]
};

struct Sizes {
    int n_spectra, n_pixels;
    int pooled() const { return n_pixels / POOL; }
    int blocks() const { return pooled() + 4; }                                     // of a row of the random draws
    int used() const { return (n_pixels + POOL - 1) / POOL; }                       // blocks that hold pixels
    int row() const { return (used() + LANES - 1) / LANES * LANES + LANES; }        // of one phase, with zeros around
};

void split(const float *x, const Sizes &size, float *rows) {
    std::memset(rows, 0, sizeof(float) * POOL * size.row());
    const int whole = size.pooled();
    for (int k = 0; k < POOL; ++k) {
        float *row = rows + k * size.row() + 1;
        for (int j = 0; j < whole; ++j) row[j] = x[POOL * j + k];
        if (POOL * whole + k < size.n_pixels) row[whole] = x[POOL * whole + k];
    }
}

// First convolution, ReLU and dropout of one spectrum.
void hide(const Weights &w, const Sizes &size, const float *rows, const int16_t *draws, int spectrum, int threshold,
          float scale, float *hidden) {
    const int row = size.row();
    std::memset(hidden, 0, sizeof(float) * CHANNELS * POOL * row);
    for (int j = 1; j <= size.used(); j += LANES) {
        Vec in[SHIFTS];
        for (int r = 0; r < SHIFTS; ++r) in[r] = load(rows + phase(r) * row + j + shift(r));
        for (int c = 0; c < CHANNELS; ++c)
            for (int k = 0; k < POOL; ++k) {
                Vec v = Vec{} + w.bias1[c];
                for (int t = 0; t < TAPS; ++t) v += in[k + t] * w.kernel1[t * CHANNELS + c];
                v = where(v > Vec{}, v) * scale;
                if (draws) {
                    Short draw;
                    const size_t at = (size_t)(c * POOL + k) * size.n_spectra + spectrum;
                    std::memcpy(&draw, draws + at * size.blocks() + j, sizeof draw);
                    v = where(__builtin_convertvector(draw, Int) >= Int{} + threshold, v);
                }
                store(hidden + (c * POOL + k) * row + j, v);
            }
    }
    for (int c = 0; c < CHANNELS; ++c)
        for (int k = 0; k < POOL; ++k)
            for (int j = (size.n_pixels - k + POOL - 1) / POOL + 1; j < row; ++j) hidden[(c * POOL + k) * row + j] = 0;
}

// Second convolution at a vector of blocks: out[o][k].
inline void convolve(const Weights &w, const float *hidden, int row, int j, Vec (&out)[FILTERS][POOL]) {
    for (int o = 0; o < FILTERS; ++o)
        for (int k = 0; k < POOL; ++k) out[o][k] = Vec{} + w.bias2[o];
    for (int c = 0; c < CHANNELS; ++c)
        for (int r = 0; r < SHIFTS; ++r) {
            const Vec in = load(hidden + (c * POOL + phase(r)) * row + j + shift(r));
            for (int k = 0; k < POOL; ++k) {
                const int t = r - k;
                if (t < 0 || t >= TAPS) continue;
                for (int o = 0; o < FILTERS; ++o) out[o][k] += in * w.kernel2[(t * CHANNELS + c) * FILTERS + o];
            }
        }
}

inline Vec top(const Vec (&of)[POOL]) { return larger(larger(of[0], of[1]), larger(of[2], of[3])); }

void pool(const Weights &w, const Sizes &size, const float *hidden, float *features) {
    for (int j = 0; j < size.pooled(); j += LANES) {
        Vec out[FILTERS][POOL];
        convolve(w, hidden, size.row(), j + 1, out);
        float pooled[FILTERS][LANES];
        for (int o = 0; o < FILTERS; ++o) {
            const Vec v = top(out[o]);
            store(pooled[o], where(v > Vec{}, v));
        }
        const int n = size.pooled() - j < LANES ? size.pooled() - j : LANES;
        for (int i = 0; i < n; ++i)
            for (int o = 0; o < FILTERS; ++o) features[FILTERS * (j + i) + o] = pooled[o][i];
    }
}

// Adds one spectrum's gradient of the weights: kernel1, bias1, kernel2, bias2 in a row. `outer` is [o][k][j] of scratch.
void gradient(const Weights &w, const Sizes &size, const float *rows, const float *hidden, const float *grad,
              float scale, float *outer, float *to) {
    const int row = size.row();
    float *to_bias1 = to + TAPS * CHANNELS, *to_kernel2 = to_bias1 + CHANNELS;
    float *to_bias2 = to_kernel2 + TAPS * CHANNELS * FILTERS;
    std::memset(outer, 0, sizeof(float) * FILTERS * POOL * row);
    Vec bias2[FILTERS] = {};
    for (int j = 0; j < size.pooled(); j += LANES) {  // the gradient before the pool
        Vec out[FILTERS][POOL];
        convolve(w, hidden, row, j + 1, out);
        float pooled[FILTERS][LANES] = {};
        const int n = size.pooled() - j < LANES ? size.pooled() - j : LANES;
        for (int i = 0; i < n; ++i)
            for (int o = 0; o < FILTERS; ++o) pooled[o][i] = grad[FILTERS * (j + i) + o];
        for (int o = 0; o < FILTERS; ++o) {
            const Vec most = top(out[o]), g = where(most > Vec{}, load(pooled[o]));
            for (int k = 0; k < POOL; ++k) {
                const Vec own = where(out[o][k] == most, g);  // every pixel that reaches the maximum
                store(outer + (o * POOL + k) * row + j + 1, own);
                bias2[o] += own;
            }
        }
    }
    for (int o = 0; o < FILTERS; ++o) {
        Vec kernel[TAPS][CHANNELS] = {};
        for (int j = 1; j <= size.pooled(); j += LANES) {
            Vec g[POOL];
            for (int k = 0; k < POOL; ++k) g[k] = load(outer + (o * POOL + k) * row + j);
            for (int c = 0; c < CHANNELS; ++c)
                for (int r = 0; r < SHIFTS; ++r) {
                    const Vec in = load(hidden + (c * POOL + phase(r)) * row + j + shift(r));
                    for (int k = 0; k < POOL; ++k)
                        if (r - k >= 0 && r - k < TAPS) kernel[r - k][c] += g[k] * in;
                }
        }
        for (int t = 0; t < TAPS; ++t)
            for (int c = 0; c < CHANNELS; ++c) to_kernel2[(t * CHANNELS + c) * FILTERS + o] += sum(kernel[t][c]);
        to_bias2[o] += sum(bias2[o]);
    }
    Vec kernel[TAPS][CHANNELS] = {}, bias1[CHANNELS] = {};
    for (int j = 1; j <= size.used(); j += LANES) {
        Vec g[CHANNELS][POOL] = {};  // of the hidden layer
        for (int o = 0; o < FILTERS; ++o)
            for (int r = 0; r < SHIFTS; ++r) {  // the output pixels from 4 before to 6 after the block's first read it
                const int k = r % POOL, at = r / POOL - 1;
                const Vec above = load(outer + (o * POOL + k) * row + j + at);
                for (int p = 0; p < POOL; ++p) {
                    const int t = p + LEFT - (POOL * at + k);
                    if (t < 0 || t >= TAPS) continue;
                    for (int c = 0; c < CHANNELS; ++c) g[c][p] += above * w.kernel2[(t * CHANNELS + c) * FILTERS + o];
                }
            }
        for (int c = 0; c < CHANNELS; ++c)
            for (int k = 0; k < POOL; ++k) {
                const Vec kept = load(hidden + (c * POOL + k) * row + j);  // 0 where dropped or below 0
                g[c][k] = where(kept > Vec{}, g[c][k] * scale);
                bias1[c] += g[c][k];
            }
        for (int r = 0; r < SHIFTS; ++r) {
            const Vec in = load(rows + phase(r) * row + j + shift(r));
            for (int k = 0; k < POOL; ++k)
                if (r - k >= 0 && r - k < TAPS)
                    for (int c = 0; c < CHANNELS; ++c) kernel[r - k][c] += g[c][k] * in;
        }
    }
    for (int c = 0; c < CHANNELS; ++c) {
        for (int t = 0; t < TAPS; ++t) to[t * CHANNELS + c] += sum(kernel[t][c]);
        to_bias1[c] += sum(bias1[c]);
    }
}

template <typename Work>
void in_chunks(int n_spectra, int n_threads, const Work &work) {
    const int n_chunks = (n_spectra + CHUNK - 1) / CHUNK;
    std::atomic<int> next{0};
    const auto run = [&] {
        for (int chunk; (chunk = next++) < n_chunks;)
            work(chunk, chunk * CHUNK, (chunk + 1) * CHUNK < n_spectra ? (chunk + 1) * CHUNK : n_spectra);
    };
    std::vector<std::thread> others;
    for (int i = 1; i < n_threads && i < n_chunks; ++i) others.emplace_back(run);
    run();
    for (auto &other : others) other.join();
}

}  // namespace

extern "C" {

int n_weights() { return WEIGHTS; }
int chunk_spectra() { return CHUNK; }
// Floats of one spectrum's hidden layer.
int hidden_floats(int n_pixels) { return CHANNELS * POOL * Sizes{1, n_pixels}.row(); }

// x [n][pixel]; draws [c][k][n][blocks] or null for no dropout, LANES more can be read behind; a draw below the threshold
// drops. Out: hidden [n][c][k][row], features [n][4 j + o].
void forward(int n_spectra, int n_pixels, int n_threads, const float *x, const int16_t *draws, int threshold,
             float scale, const float *kernel1, const float *bias1, const float *kernel2, const float *bias2,
             float *hidden, float *features) {
    const Weights w{kernel1, bias1, kernel2, bias2};
    const Sizes size{n_spectra, n_pixels};
    in_chunks(n_spectra, n_threads, [&](int, int first, int last) {
        std::vector<float> rows(POOL * size.row());
        for (int i = first; i < last; ++i) {
            float *own = hidden + (size_t)i * CHANNELS * POOL * size.row();
            split(x + (size_t)i * n_pixels, size, rows.data());
            hide(w, size, rows.data(), draws, i, threshold, scale, own);
            pool(w, size, own, features + (size_t)i * FILTERS * size.pooled());
        }
    });
}

// grad [n][4 j + o]. Out: sums [chunk][WEIGHTS], to be added up by the caller.
void backward(int n_spectra, int n_pixels, int n_threads, const float *x, const float *hidden, const float *grad,
              float scale, const float *kernel1, const float *bias1, const float *kernel2, const float *bias2,
              float *sums) {
    const Weights w{kernel1, bias1, kernel2, bias2};
    const Sizes size{n_spectra, n_pixels};
    in_chunks(n_spectra, n_threads, [&](int chunk, int first, int last) {
        std::vector<float> rows(POOL * size.row()), outer(FILTERS * POOL * size.row());
        float *to = sums + (size_t)chunk * WEIGHTS;
        std::memset(to, 0, sizeof(float) * WEIGHTS);
        for (int i = first; i < last; ++i) {
            split(x + (size_t)i * n_pixels, size, rows.data());
            gradient(w, size, rows.data(), hidden + (size_t)i * CHANNELS * POOL * size.row(),
                     grad + (size_t)i * FILTERS * size.pooled(), scale, outer.data(), to);
        }
    });
}

}
