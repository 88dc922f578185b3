/* The heads: the density of one number x given its P raw outputs z.  Each is four functions in fixed order: log density,
   gradient, draw, link, and of mixtures two more.  The list is the last lines: the mixtures of each family (mixture.h), then the heads below. */

/* ---- Bernoulli: support {0, 1}, P = 1 --------------------------------------------------------------------------
   p(x = 1) = sigmoid(z),  log p(x) = -softplus((1 - 2 x) z),  softplus(t) = max(t, 0) + log(1 + exp(-|t|)) */

static void bernoulli_log_density(real *log_density, real *scratch, real *z, const real *x, const struct outputs *at) {
    (void)scratch, (void)at;
    for (int v = 0; v < WIDTH; v += LANES) {
        vec t = (1 - 2 * load(x + v)) * load(z + v), size = larger(t, -t);
        store(log_density + v, -(larger(splat(0), t) + log_(1 + exp_(-size))));
    }
}

static void bernoulli_gradient(real *log_density, real *scratch, real *z, const real *x, const real *weight,
                               const struct outputs *at) {
    bernoulli_log_density(log_density, scratch, z, x, at);
    for (int v = 0; v < WIDTH; v += LANES)                                   /* dz = x - p */
        store(z + v, load(weight + v) * (load(x + v) - sigmoid_(load(z + v))));
}

static void bernoulli_draw(real *x, real *scratch, const real *z, const real *uniform, const real *noise,
                           const struct outputs *at, ptrdiff_t lanes) {
    (void)scratch, (void)noise, (void)at;
    for (int v = 0; v < lanes; v += LANES)
        store(x + v, (vec)((ivec)(load(uniform + v) < sigmoid_(load(z + v))) & (ivec)splat(1)));
}

static void bernoulli_link(real *parameters, const real *z, const struct outputs *at) {
    (void)at;
    for (int v = 0; v < WIDTH; v += LANES) store(parameters + v, sigmoid_(load(z + v)));
}

/* ---- the list, in the order of `enum head` ---- */
#define MIXTURE(NAME, name)                                                \
    [NAME] = {name##_log_density, name##_gradient, name##_draw, name##_link, \
              name##_posterior,   name##_component_gradient},
#define HEADS         \
    FAMILIES(MIXTURE) \
    [BERNOULLI] = {bernoulli_log_density, bernoulli_gradient, bernoulli_draw, bernoulli_link, NULL, NULL}
