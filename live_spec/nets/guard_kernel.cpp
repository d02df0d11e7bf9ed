// The domain guard of a group of spectra: live_spec/nets/guard.py says what is measured. Compiled behind
// engine_kernel.cpp, whose products it uses; called by engine_guard.py.
//
// The normal matrix of a fit, components times weights times components, is taken in bfloat16 and summed in float32: its
// error of 1e-4 moves the fit by that, and the residual of a fit at its minimum by the square of it. All else is float32,
// the solution double.

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

constexpr int PIXELS = 256, HALF = 8;  // pixels at a time: their components in bfloat16 stay in the first cache

// Roots of the weights, and weights times input, (C,) each; the number of good pixels.
int weigh(const Components &own, const float *x, const float *ivar, float *root, float *weighted) {
    const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f), endless = _mm512_set1_ps(__builtin_inff());
    int n_good = 0;
    for (int p = 0; p < own.C; p += LANES) {
        const __mmask16 inside = own.C - p < LANES ? (1u << (own.C - p)) - 1 : 0xFFFF;
        const __m512 info = _mm512_maskz_loadu_ps(inside, ivar + p), flux = _mm512_maskz_loadu_ps(inside, x + p);
        __mmask16 good = _mm512_cmp_ps_mask(info, zero, _CMP_GT_OQ) & _mm512_cmp_ps_mask(info, endless, _CMP_LT_OQ);
        good &= _mm512_cmp_ps_mask(_mm512_abs_ps(flux), endless, _CMP_LT_OQ);
        const __m512 variance = _mm512_add_ps(_mm512_maskz_div_ps(good, one, info), _mm512_set1_ps(own.floor2));
        const __m512 weight = _mm512_maskz_div_ps(good, one, variance);
        n_good += __builtin_popcount(good);
        _mm512_store_ps(root + p, _mm512_sqrt_ps(weight));
        _mm512_store_ps(weighted + p, _mm512_maskz_mul_ps(good, weight, flux));
    }
    return n_good;
}

// gram (K16, K16) += components times weights times components over some pixels. Only what is right of the diagonal, in
// tiles of 8 x 16.
void add_pixels(const Components &own, const float *root, int first, int stop, uint32_t *pairs, float *gram) {
    const int wide = round_up(own.K), count = (stop - first + 1) / 2;
    for (int p = 0; p < count; ++p) {
        const float *one = own.by_pixel + (size_t)(first + 2 * p) * wide, *two = one + wide;
        const __m512 w1 = _mm512_set1_ps(root[first + 2 * p]), w2 = _mm512_set1_ps(root[first + 2 * p + 1]);
        for (int k = 0; k < wide; k += LANES)
            _mm512_store_si512(pairs + p * wide + k, woven_pairs(_mm512_mul_ps(w1, _mm512_load_ps(one + k)),
                                                                 _mm512_mul_ps(w2, _mm512_load_ps(two + k))));
    }
    for (int i = 0; i < own.K; i += HALF)
        for (int j = i / LANES * LANES; j < wide; j += LANES) {
            __m512 sum[HALF];
            for (int r = 0; r < HALF; ++r) sum[r] = _mm512_load_ps(gram + (i + r) * wide + j);
            for (int p = 0; p < count; ++p) {
                const __m512bh row = (__m512bh)_mm512_load_si512(pairs + p * wide + j);
                for (int r = 0; r < HALF; ++r)
                    sum[r] = _mm512_dpbf16_ps(sum[r], (__m512bh)_mm512_set1_epi32(pairs[p * wide + i + r]), row);
            }
            for (int r = 0; r < HALF; ++r) _mm512_store_ps(gram + (i + r) * wide + j, sum[r]);
        }
}

// The same over all pixels, of n spectra.
void add_gram(const Components &own, int n, const float *root, size_t long_, uint32_t *pairs, float *gram) {
    const size_t wide = round_up(own.K);
    memset(gram, 0, sizeof(float) * n * wide * wide);
    for (int first = 0; first < own.C; first += PIXELS)
        for (int g = 0; g < n; ++g)
            add_pixels(own, root + g * long_, first, first + PIXELS < own.C ? first + PIXELS : own.C, pairs, gram + g * wide * wide);
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
double chi_square(const Components &own, const float *x, const float *fit, const float *root, float *chi, int *n_clipped) {
    const __m512 most = _mm512_set1_ps(own.clip);
    __m512 sum = _mm512_setzero_ps();
    *n_clipped = 0;
    for (int p = 0; p < own.C; p += LANES) {
        const __mmask16 inside = own.C - p < LANES ? (1u << (own.C - p)) - 1 : 0xFFFF;
        const __m512 root_p = _mm512_load_ps(root + p);
        const __mmask16 good = inside & _mm512_cmp_ps_mask(root_p, _mm512_setzero_ps(), _CMP_GT_OQ);
        const __m512 off = _mm512_sub_ps(_mm512_maskz_loadu_ps(good, x + p), _mm512_load_ps(fit + p));
        const __m512 one = _mm512_maskz_mul_ps(good, _mm512_abs_ps(off), root_p);
        *n_clipped += __builtin_popcount(_mm512_cmp_ps_mask(one, most, _CMP_GT_OQ));
        _mm512_store_ps(chi + p, one);
        const __m512 least = _mm512_min_ps(most, one);  // a NaN in ``one`` stays
        sum = _mm512_fmadd_ps(least, least, sum);
    }
    return _mm512_reduce_add_ps(sum);
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
    uint32_t *pairs = scratch.take<uint32_t>(PIXELS * wide);
    double *exact = scratch.take<double>(wide * wide), *lower = scratch.take<double>(wide * wide);
    double *exact_right = scratch.take<double>(wide);
    int n_good[LANES];
    memset(root, 0, sizeof(float) * n * long_);
    memset(coefficient, 0, sizeof(float) * n * wide);
    for (int g = 0; g < n; ++g)
        n_good[g] = weigh(own, x + (size_t)g * C, ivar + (size_t)g * C, root + g * long_, weighted + g * long_);
    add_gram(own, n, root, long_, pairs, gram);
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
                add_gram(own, 1, rest, long_, pairs, own_gram);
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
