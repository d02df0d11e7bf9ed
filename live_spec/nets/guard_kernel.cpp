// The domain guard of a group of spectra: live_spec/nets/guard.py says what is measured. Compiled behind
// engine_kernel.cpp, whose products it uses; called by engine_guard.py.
//
// The normal matrix of a fit, components times weights times components, is taken in bfloat16, where the processor can,
// and summed in float32: its error of 1e-4 moves the fit by that, and the residual of a fit at its minimum by the square
// of it. All else is float32, the solution double.

extern "C" {

struct Components {
    int K, C;                    // components, at most 96; pixels
    float floor2, clip;
    const float *by_component;   // panels of (K, C)
    const float *by_pixel;       // (C and a zero, K filled up to 16)
    const double *prior;         // (K,) inverse variance of a coefficient in the training set
};

}  // extern "C"

namespace {

constexpr int PIXELS = 256;              // at a time: their components stay in a cache
constexpr int PART = NARROW ? 4 : 8;    // rows of a tile of the normal matrix

// Roots of the weights, and weights times input, (C,) each; the number of good pixels.
int weigh(const Components &own, const float *x, const float *ivar, float *root_w, float *weighted) {
    const Vec endless = all(__builtin_inff());
    int n_good = 0;
    for (int p = 0; p < own.C; p += LANES) {
        const Mask inside = first_lanes(own.C - p);
        const Vec info = load(inside, ivar + p), flux = load(inside, x + p);
        const Mask good = both(both(above(info, zero()), above(endless, info)), above(endless, size(flux)));
        const Vec weight = only(good, over(all(1.0f), plus(only(good, over(all(1.0f), info)), all(own.floor2))));
        n_good += count(good);
        store(root_w + p, root(weight));
        store(weighted + p, only(good, times(weight, flux)));
    }
    return n_good;
}

// gram (K16, K16) += components times weights times components over some pixels. Only what is right of the diagonal, in
// tiles of PART x 16.
void add_pixels(const Components &own, const float *root_w, int first, int stop, Packed *packs, float *gram) {
    const int wide = round_up(own.K), n_packs = (stop - first + PER_PACK - 1) / PER_PACK;
    for (int p = 0; p < n_packs; ++p)
        for (int k = 0; k < wide; k += LANES) {
            Vec of[PER_PACK];
            for (int q = 0; q < PER_PACK; ++q) {
                const int pixel = first + PER_PACK * p + q;
                of[q] = times(all(root_w[pixel]), load(own.by_pixel + (size_t)pixel * wide + k));
            }
            store_pack(packs + p * wide + k, of);
        }
    for (int i = 0; i < own.K; i += PART)
        for (int j = i / LANES * LANES; j < wide; j += LANES) {
            Vec sum[PART];
            for (int r = 0; r < PART; ++r) sum[r] = load(gram + (i + r) * wide + j);
            for (int p = 0; p < n_packs; ++p) {
                const Pack row = load_pack(packs + p * wide + j);
                for (int r = 0; r < PART; ++r) sum[r] = fma_packs(all_packs(packs[p * wide + i + r]), row, sum[r]);
            }
            for (int r = 0; r < PART; ++r) store(gram + (i + r) * wide + j, sum[r]);
        }
}

// The same over all pixels, of n spectra.
void add_gram(const Components &own, int n, const float *root, size_t long_, Packed *packs, float *gram) {
    const size_t wide = round_up(own.K);
    memset(gram, 0, sizeof(float) * n * wide * wide);
    for (int first = 0; first < own.C; first += PIXELS)
        for (int g = 0; g < n; ++g)
            add_pixels(own, root + g * long_, first, first + PIXELS < own.C ? first + PIXELS : own.C, packs, gram + g * wide * wide);
}

// Coefficients (K,): (gram + prior) c = right, by Cholesky; only gram's upper half is read. NaN where that fails.
void solve(const Components &own, const double *gram, const double *right, double *lower, float *c) {
    const int K = own.K, wide = round_up(K);
    double y[PANEL * LANES];
    for (int i = 0; i < K; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = gram[j * wide + i] + (i == j ? own.prior[i] : 0.0);
            for (int k = 0; k < j; ++k) sum -= lower[i * wide + k] * lower[j * wide + k];
            lower[i * wide + j] = i == j ? __builtin_sqrt(sum) : sum / lower[j * wide + j];
        }
        y[i] = right[i];
        for (int k = 0; k < i; ++k) y[i] -= lower[i * wide + k] * y[k];
        y[i] /= lower[i * wide + i];
    }
    for (int i = K - 1; i >= 0; --i) {
        for (int k = i + 1; k < K; ++k) y[i] -= lower[k * wide + i] * y[k];
        y[i] /= lower[i * wide + i];
        c[i] = y[i];
    }
}

// chi (C,) of every pixel of one spectrum; the sum of squares, each clipped, and how many pixels were.
double chi_square(const Components &own, const float *x, const float *fit, const float *root_w, float *chi, int *n_clipped) {
    Vec sum = zero();
    *n_clipped = 0;
    for (int p = 0; p < own.C; p += LANES) {
        const Vec weight = load(root_w + p);
        const Mask good = both(first_lanes(own.C - p), above(weight, zero()));
        const Vec one = only(good, times(size(minus(load(good, x + p), load(fit + p))), weight));
        *n_clipped += count(above(one, all(own.clip)));
        store(chi + p, one);
        const Vec least = smaller(all(own.clip), one);  // a NaN in ``one`` stays
        sum = fma(least, least, sum);
    }
    return total(sum);
}

}  // namespace

extern "C" {

size_t guard_scratch_bytes(const Components *own, int n) {
    const size_t wide = round_up(own->K), C = round_up(own->C + LANES), spectra = n;
    return sizeof(float) * (spectra * (4 * C + wide * (wide + 2)) + PIXELS * wide + 4 * wide * wide + 4 * wide) + 64 * 32;
}

// Reduced chi-square and distance of n spectra, (n,) each; NaN without enough pixels.
void guard_group(const Components *components, int n, const float *x, const float *ivar, double *residual,
                 double *distance, char *memory) {
    const Components &own = *components;
    const int K = own.K, C = own.C;
    const size_t wide = round_up(K), long_ = round_up(C + LANES);
    Scratch scratch{memory};
    float *root = scratch.take<float>(n * long_), *weighted = scratch.take<float>(n * long_);
    float *fit = scratch.take<float>(n * long_), *chi = scratch.take<float>(n * long_);
    float *gram = scratch.take<float>(n * wide * wide), *right = scratch.take<float>(n * wide);
    float *coefficient = scratch.take<float>(n * wide);
    Packed *packs = scratch.take<Packed>(PIXELS * wide);
    double *exact = scratch.take<double>(wide * wide), *lower = scratch.take<double>(wide * wide);
    double *exact_right = scratch.take<double>(wide);
    int n_good[LANES];
    memset(root, 0, sizeof(float) * n * long_);
    memset(coefficient, 0, sizeof(float) * n * wide);
    for (int g = 0; g < n; ++g)
        n_good[g] = weigh(own, x + (size_t)g * C, ivar + (size_t)g * C, root + g * long_, weighted + g * long_);
    add_gram(own, n, root, long_, packs, gram);
    multiply(n, wide, C, weighted, long_, own.by_pixel, nullptr, right, wide);
    for (int round = 0; round < 2; ++round) {  // the second time without the outliers of the first
        bool again = false;
        for (int g = 0; g < n; ++g) {
            int n_clipped = 0;
            float *own_gram = gram + g * wide * wide, *own_right = right + g * wide, *own_weighted = weighted + g * long_;
            if (round) {
                for (int p = 0; p < C; ++p) n_clipped += chi[g * long_ + p] > own.clip;
                if (!n_clipped) continue;
                again = true;
            }
            if (8 * n_clipped > n_good[g]) {  // too many to take them off
                float *rest = fit;
                memset(rest, 0, sizeof(float) * long_);
                for (int p = 0; p < C; ++p) {
                    const bool out = chi[g * long_ + p] > own.clip;
                    rest[p] = out ? 0.0f : root[g * long_ + p];
                    own_weighted[p] = out ? 0.0f : own_weighted[p];
                }
                add_gram(own, 1, rest, long_, packs, own_gram);
                multiply(1, wide, C, own_weighted, long_, own.by_pixel, nullptr, own_right, wide);
                n_clipped = 0;
            }
            for (size_t i = 0; i < wide * wide; ++i) exact[i] = own_gram[i];
            for (size_t i = 0; i < wide; ++i) exact_right[i] = own_right[i];
            for (int p = 0; n_clipped && p < C; ++p) {
                if (!(chi[g * long_ + p] > own.clip)) continue;
                const float *at = own.by_pixel + p * wide;
                const double weight = (double)root[g * long_ + p] * root[g * long_ + p];
                for (int i = 0; i < K; ++i) {
                    exact_right[i] -= (double)own_weighted[p] * at[i];
                    for (int j = i; j < K; ++j) exact[i * wide + j] -= weight * at[i] * at[j];
                }
            }
            solve(own, exact, exact_right, lower, coefficient + g * wide);
        }
        if (round && !again) break;
        multiply(n, round_up(C), K, coefficient, wide, own.by_component, nullptr, fit, long_);
        for (int g = 0; g < n; ++g) {
            int n_clipped;
            const double sum = chi_square(own, x + (size_t)g * C, fit + g * long_, root + g * long_, chi + g * long_, &n_clipped);
            double far = 0;
            for (int k = 0; k < K; ++k) far += own.prior[k] * coefficient[g * wide + k] * coefficient[g * wide + k];
            const bool enough = n_good[g] > K;
            residual[g] = enough ? sum / (n_good[g] - K) : __builtin_nan("");
            distance[g] = enough ? __builtin_sqrt(far / K) : __builtin_nan("");
        }
    }
}

}  // extern "C"
