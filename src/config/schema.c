/* schema.c - THE table: every key a page may hold, once.
 *
 * Order matters twice: it is the order of resolved.yaml and `config explain`, and a key that another
 * row's `only` names stands before that row. A key whose default depends on a choice has one row per
 * choice. To add a key: a field in hone/config.h and a row here. Nothing else may know a key's range
 * or default. */
#include <string.h>

#include "config/schema.h"

#define AT(field) offsetof(hone_config, field)
#define GROUP(key, short_form, help)                                                                                   \
    {                                                                                                                  \
        key, HONE_TYPE_GROUP, 0, 0, 0, 0, NULL, short_form, NULL, help                                                 \
    }

enum { BIG = 1000000000, ABOVE = HONE_ROW_ABOVE_MIN, BELOW = HONE_ROW_BELOW_MAX, OPTIONAL = HONE_ROW_OPTIONAL };
/* Conditions that several rows share. */
static const char sgd[] = "train.optimizer.name=sgd", adamw[] = "train.optimizer.name=adamw";
static const char image[] = "task=image", text[] = "task=text", synthetic[] = "data.synthetic";

/* clang-format off: one row a line or two, columns: key, type, field, min, max, flags, default, choices, only, help */
const hone_row hone_schema[] = {
    /* What the run is about, and where it leaves its files. */
    {"task", HONE_TYPE_ENUM, AT(task), 0, 0, 0, "image", "image|text", NULL, "what the samples are"},
    {"out", HONE_TYPE_STRING, AT(out), 0, 0, OPTIONAL, "~", NULL, NULL,
     "run directory, relative to the working directory; --out wins"},

    /* Paths are relative to the working directory, so a page can be shared between machines. The three ways to
 * name data (path, train, synthetic) exclude each other: check.c. */
    GROUP("data", NULL, "where the samples and labels come from: path, or train (val, test), or synthetic"),
    {"data.path", HONE_TYPE_STRING, AT(data.path), 0, 0, OPTIONAL, "~", NULL, NULL,
     "folder or file that holds all splits; its format is seen from the content"},
    {"data.train", HONE_TYPE_STRING, AT(data.train), 0, 0, OPTIONAL, "~", NULL, NULL,
     "training split, where the splits lie apart"},
    {"data.val", HONE_TYPE_STRING, AT(data.val), 0, 0, OPTIONAL, "~", NULL, NULL,
     "validation split; without it val_fraction of train is used"},
    {"data.test", HONE_TYPE_STRING, AT(data.test), 0, 0, OPTIONAL, "~", NULL, NULL,
     "test split, evaluated once at the end"},
    {"data.format", HONE_TYPE_ENUM, AT(data.format), 0, 0, 0, "auto",
     "auto|idx|cifar|folder|csv|tsv|jsonl|fasttext|tar|pack", NULL, "file format; auto looks at the content"},
    {"data.val_fraction", HONE_TYPE_FLOAT, AT(data.val_fraction), 0, 1, BELOW, "0.1", NULL, NULL,
     "share of train that validates where the data has no validation split; stratified, a function of the seed"},
    {"data.on_error", HONE_TYPE_ENUM, AT(data.on_error), 0, 0, 0, "stop", "stop|skip", NULL,
     "a broken sample stops the run, or is named, counted and left out"},
    {"data.check", HONE_TYPE_ENUM, AT(data.check), 0, 0, 0, "off", "off|strict", NULL,
     "strict: training does not start while `hone data check` finds anything"},
    /* NULL where not given: a table may then lack the weight column, while one that is named must be there. */
    GROUP("data.columns", NULL, "columns of a table (CSV, TSV, JSONL)"),
    {"data.columns.input", HONE_TYPE_STRING, AT(data.columns.input), 0, 0, OPTIONAL, "~", NULL, NULL,
     "column of the image path or the text; without it `path` or `text`"},
    {"data.columns.label", HONE_TYPE_STRING, AT(data.columns.label), 0, 0, OPTIONAL, "~", NULL, NULL,
     "column of the class name; without it `label`"},
    {"data.columns.second", HONE_TYPE_STRING, AT(data.columns.second), 0, 0, OPTIONAL, "~", NULL, text,
     "column of a second text, where a sample is a pair"},
    {"data.columns.weight", HONE_TYPE_STRING, AT(data.columns.weight), 0, 0, OPTIONAL, "~", NULL, NULL,
     "column of the sample weight; without it `weight` where the table has one"},
    {"data.columns.split", HONE_TYPE_STRING, AT(data.columns.split), 0, 0, OPTIONAL, "~", NULL, NULL,
     "column that says train, val or test"},
    /* The shape has no default: a benchmark that ran on a size nobody chose would mislead. */
    GROUP("data.synthetic", NULL, "random samples made on the spot: for speed measurements, nothing to fetch"),
    {"data.synthetic.shape", HONE_TYPE_SHAPE, AT(data.synthetic.shape), 1, 65536, HONE_ROW_REQUIRED, NULL, NULL,
     synthetic, "height, width and channels of a picture; of texts: [longest, mean, words] (mean = longest: all full)"},
    {"data.synthetic.classes", HONE_TYPE_INT64, AT(data.synthetic.classes), 2, 1000000, 0, "10", NULL, synthetic,
     "number of classes"},
    {"data.synthetic.samples", HONE_TYPE_INT64, AT(data.synthetic.samples), 1, BIG, 0, "8192", NULL, synthetic,
     "number of samples"},
    /* How samples are kept and brought; no result depends on these three. */
    {"data.memory_limit_mb", HONE_TYPE_INT64, AT(data.memory_limit_mb), 0, 100000000, 0, "0", NULL, NULL,
     "decoded samples beyond this many MiB are streamed; 0 = half of the free memory"},
    {"data.decode_threads", HONE_TYPE_INT, AT(data.decode_threads), 0, 1024, 0, "0", NULL, NULL,
     "threads that decode; 0 = as many as compute threads"},
    {"data.prefetch", HONE_TYPE_INT, AT(data.prefetch), 1, 1024, 0, "4", NULL, NULL,
     "batches decoded ahead when streaming"},

    /* Preprocessing is the same in train, eval, predict and export, so nothing here is about training. Values
 * that are not given are those of the data; mean 0 and std 1 leave pixels as they are. */
    GROUP("image", NULL, "what every picture is turned into before the net sees it"),
    {"image.size", HONE_TYPE_SIZE, AT(image.height), 1, 16384, OPTIONAL, "~", NULL, image,
     "side in pixels, or [height, width]; without it that of the data"},
    {"image.channels", HONE_TYPE_INT, AT(image.channels), 1, 3, OPTIONAL, "~", "1|3", image,
     "1 or 3; alpha is composed on white, grey is replicated; without it that of the data"},
    {"image.resize", HONE_TYPE_ENUM, AT(image.resize), 0, 0, 0, "stretch", "stretch|shorter", image,
     "stretch to the size, or scale the shorter side and cut the centre; antialiased bilinear"},
    {"image.mean", HONE_TYPE_CHANNELS, AT(image.mean), 0, 1, OPTIONAL, "~", NULL, image,
     "mean per channel of pixels in 0..1, subtracted; auto measures it on the training split; without it 0"},
    {"image.std", HONE_TYPE_CHANNELS, AT(image.std), 0, 1, OPTIONAL | ABOVE, "~", NULL, image,
     "standard deviation per channel of pixels in 0..1, divided by; auto measures it; without it 1"},

    /* Every key is off by default: an augmentation that nobody asked for changes results in silence. */
    GROUP("augment", NULL, "random changes of training pictures; nothing by default"),
    {"augment.flip", HONE_TYPE_FLOAT, AT(augment.flip), 0, 1, 0, "0", NULL, image, "probability of a horizontal flip"},
    GROUP("augment.crop", NULL, "random crop: {pad: N}, or {scale: [a, b], ratio: [a, b]}"),
    {"augment.crop.pad", HONE_TYPE_INT, AT(augment.crop_pad), 0, 4096, 0, "0", NULL, image,
     "random shift by up to this many pixels, black outside; 0 = off"},
    /* Defaults of torchvision's RandomResizedCrop. */
    {"augment.crop.scale", HONE_TYPE_PAIR, AT(augment.crop.scale), 0, 1, ABOVE | HONE_ROW_ASCENDS, "[0.08, 1]", NULL,
     "augment.crop.scale", "share of the area that a random crop keeps"},
    {"augment.crop.ratio", HONE_TYPE_PAIR, AT(augment.crop.ratio), 0, 100, ABOVE | HONE_ROW_ASCENDS, "[0.75, 1.333]",
     NULL, "augment.crop.scale", "width over height of a random crop"},
    {"augment.crop.from", HONE_TYPE_SIZE, AT(augment.crop.from_height), 1, 16384, OPTIONAL, "~", NULL,
     "augment.crop.scale",
     "side, or [height, width], that training pictures are kept in and cut from; without it half as much again as "
     "image.size, where the data are files or have the pixels"},
    {"augment.rotate", HONE_TYPE_FLOAT, AT(augment.rotate), 0, 180, 0, "0", NULL, image,
     "random turn by up to this many degrees either way, black outside; 0 = off"},
    GROUP("augment.color", NULL, "random brightness, contrast, saturation and hue, in a random order"),
    {"augment.color.brightness", HONE_TYPE_FLOAT, AT(augment.color.brightness), 0, 10, 0, "0", NULL, image,
     "factor between 1 - this and 1 + this; 0 = off"},
    {"augment.color.contrast", HONE_TYPE_FLOAT, AT(augment.color.contrast), 0, 10, 0, "0", NULL, image,
     "factor of the distance from the picture's mean grey; 0 = off"},
    {"augment.color.saturation", HONE_TYPE_FLOAT, AT(augment.color.saturation), 0, 10, 0, "0", NULL, image,
     "factor of the distance from each pixel's grey; 0 = off"},
    {"augment.color.hue", HONE_TYPE_FLOAT, AT(augment.color.hue), 0, 0.5, 0, "0", NULL, image,
     "turn of the colour circle by up to this share of it either way; 0 = off"},
    /* torchvision's 14 operations and its table of magnitudes. */
    GROUP("augment.randaugment", NULL, "RandAugment: {count: N, magnitude: M}, random operations on every picture"),
    {"augment.randaugment.count", HONE_TYPE_INT, AT(augment.randaugment.count), 0, 13, 0, "0", NULL, image,
     "operations a picture, drawn with repetition; 0 = off, 2 is usual"},
    {"augment.randaugment.magnitude", HONE_TYPE_INT, AT(augment.randaugment.magnitude), 0, 30, 0, "9", NULL, image,
     "strength of all of them"},
    /* Defaults of torchvision's RandomErasing, but for the probability. */
    GROUP("augment.erase", NULL, "random erasing: a rectangle becomes the mean"),
    {"augment.erase.probability", HONE_TYPE_FLOAT, AT(augment.erase.probability), 0, 1, 0, "0", NULL, image,
     "share of the pictures that lose a rectangle; 0 = off"},
    {"augment.erase.area", HONE_TYPE_PAIR, AT(augment.erase.area), 0, 1, ABOVE | HONE_ROW_ASCENDS, "[0.02, 0.33]", NULL,
     image, "share of the area that is erased"},
    {"augment.erase.ratio", HONE_TYPE_PAIR, AT(augment.erase.ratio), 0, 100, ABOVE | HONE_ROW_ASCENDS, "[0.3, 3.3]",
     NULL, image, "width over height of the rectangle"},
    {"augment.mixup", HONE_TYPE_FLOAT, AT(augment.mixup), 0, 100, 0, "0", NULL, image,
     "alpha: pictures and labels are mixed with the next ones of the batch, by shares of Beta(alpha, alpha); 0 = off"},
    {"augment.cutmix", HONE_TYPE_FLOAT, AT(augment.cutmix), 0, 100, 0, "0", NULL, image,
     "alpha: a box of the next picture of the batch is pasted in; beside mixup each is done half the time; 0 = off"},
    {"augment.mix", HONE_TYPE_FLOAT, AT(augment.mix), 0, 1, 0, "1", NULL, image,
     "share of the pictures that mixup or cutmix change"},

    /* Checked like all others; src/model refuses task: text until its layers are there. */
    GROUP("text", NULL, "how text becomes tokens"),
    {"text.tokenizer", HONE_TYPE_STRING, AT(text.tokenizer), 0, 0, 0, "ngram", NULL, text,
     "ngram, wordpiece, bpe, char, or a path to vocab.txt or tokenizer.json"},
    /* Bags of words and of characters, as fastText counts them. */
    GROUP("text.ngram", NULL, "the ngram tokenizer"),
    {"text.ngram.words", HONE_TYPE_INT_PAIR, AT(text.ngram.words), 1, 16, 0, "[1, 2]", NULL, text,
     "least and greatest length of word n-grams"},
    {"text.ngram.chars", HONE_TYPE_INT_PAIR, AT(text.ngram.chars), 1, 16, OPTIONAL, "none", NULL, text,
     "least and greatest length of character n-grams, or none"},
    {"text.ngram.buckets", HONE_TYPE_INT64, AT(text.ngram.buckets), 1, BIG, 0, "2000000", NULL, text,
     "rows of the hashed n-gram table"},
    {"text.ngram.min_count", HONE_TYPE_INT, AT(text.ngram.min_count), 1, BIG, 0, "1", NULL, text,
     "words seen less often have no row of their own"},
    {"text.ngram.punctuation", HONE_TYPE_ENUM, AT(text.ngram.punctuation), 0, 0, 0, "keep", "keep|split|drop", text,
     "words end at white space only (keep), marks are words of their own (split), or they end words and vanish (drop)"},
    {"text.vocab_size", HONE_TYPE_INT, AT(text.vocab_size), 2, 10000000, 0, "30000", NULL, text,
     "size of the vocabulary of trained tokenizers"},
    {"text.lowercase", HONE_TYPE_BOOL, AT(text.lowercase), 0, 0, 0, "true", NULL, text,
     "letters are made lower case first"},
    {"text.max_length", HONE_TYPE_INT, AT(text.max_length), 1, 1000000, 0, "512", NULL, text,
     "tokens; longer texts are cut and counted"},
    {"text.cache", HONE_TYPE_BOOL, AT(text.cache), 0, 0, 0, "true", NULL, text,
     "WordPiece and BPE: token ids are kept in .hone beside the data, and read again while data and tokenizer are the "
     "same"},

    {"model", HONE_TYPE_TREE, AT(model.tree), 0, 0, HONE_ROW_REQUIRED, NULL, NULL, NULL,
     "the net: file (relative to this page) or layers here, with: parameters, blocks: macros"},

    /* Which of epochs, max_steps and max_time comes first ends the run. */
    GROUP("train", NULL, "how the net learns"),
    {"train.epochs", HONE_TYPE_WHOLE, AT(train.epochs), 1, 1000000, 0, "12", NULL, NULL,
     "passes over the training split"},
    {"train.max_steps", HONE_TYPE_INT64, AT(train.max_steps), 0, 1e15, 0, "0", NULL, NULL,
     "ends the run after this many steps if the epochs have not; 0 = off"},
    {"train.max_time", HONE_TYPE_TIME, AT(train.max_time), 0, BIG, 0, "0", NULL, NULL,
     "ends the run after this time if the epochs have not: 90s, 20m, 3h; 0 = off"},
    {"train.batch", HONE_TYPE_INT, AT(train.batch), 1, 1000000, 0, "128", NULL, NULL,
     "samples of a step; a last short batch is trained too"},
    {"train.batch_tokens", HONE_TYPE_INT64, AT(train.batch_tokens), 0, BIG, 0, "0", NULL, text,
     "most tokens of a batch, which then has up to train.batch texts; 0 = off"},
    {"train.accumulate", HONE_TYPE_INT, AT(train.accumulate), 1, 65536, 0, "1", NULL, NULL,
     "batches whose gradients are averaged before an update"},

    /* Constants are those of torch.optim.SGD and AdamW; the rows come in pairs where the two differ in their
 * default. Keys that the chosen rule does not have are refused, not ignored. */
    GROUP("train.optimizer", "name", "the update rule: a name, or a map with its constants"),
    {"train.optimizer.name", HONE_TYPE_WORD, AT(train.optimizer.name), 0, 0, 0, "sgd", "sgd|adamw", NULL,
     "the update rule; both as PyTorch defines them"},
    {"train.optimizer.lr", HONE_TYPE_FLOAT, AT(train.optimizer.lr), 0, 1e6, ABOVE, "0.1", NULL, sgd,
     "learning rate at its highest"},
    {"train.optimizer.lr", HONE_TYPE_FLOAT, AT(train.optimizer.lr), 0, 1e6, ABOVE, "1e-3", NULL, adamw,
     "learning rate at its highest"},
    {"train.optimizer.momentum", HONE_TYPE_FLOAT, AT(train.optimizer.momentum), 0, 1, BELOW, "0.9", NULL, sgd,
     "share of the last update that is kept"},
    {"train.optimizer.nesterov", HONE_TYPE_BOOL, AT(train.optimizer.nesterov), 0, 0, 0, "true", NULL, sgd,
     "Nesterov's look-ahead; false where momentum is 0"},
    {"train.optimizer.weight_decay", HONE_TYPE_FLOAT, AT(train.optimizer.weight_decay), 0, 1000, 0, "5e-4", NULL, sgd,
     "added to the gradient as weight_decay * weight"},
    {"train.optimizer.weight_decay", HONE_TYPE_FLOAT, AT(train.optimizer.weight_decay), 0, 1000, 0, "0.01", NULL, adamw,
     "the weight shrinks by lr * weight_decay each step"},
    {"train.optimizer.betas", HONE_TYPE_PAIR, AT(train.optimizer.beta1), 0, 1, BELOW, "[0.9, 0.999]", NULL, adamw,
     "decay of the running mean and of the running square of the gradient"},
    {"train.optimizer.eps", HONE_TYPE_FLOAT, AT(train.optimizer.eps), 0, 1, ABOVE, "1e-8", NULL, adamw,
     "added to the root of the running square"},
    {"train.optimizer.decay_all", HONE_TYPE_BOOL, AT(train.optimizer.decay_all), 0, 0, 0, "false", NULL, NULL,
     "weight decay touches biases and norm parameters too"},

    /* Formulas of torch.optim.lr_scheduler, step by step. Only cosine warms up by default: a rate that is
 * called constant must be constant. */
    GROUP("train.schedule", "name", "how the learning rate moves, step by step: a name, or a map"),
    {"train.schedule.name", HONE_TYPE_ENUM, AT(train.schedule.name), 0, 0, 0, "cosine",
     "constant|step|cosine|onecycle|linear|plateau", NULL, "shape of the learning rate over the run"},
    {"train.schedule.warmup", HONE_TYPE_FLOAT, AT(train.schedule.warmup), 0, 1000000, 0, "1", NULL,
     "train.schedule.name=cosine", "epochs over which the rate rises from 0 at the start"},
    {"train.schedule.warmup", HONE_TYPE_FLOAT, AT(train.schedule.warmup), 0, 1000000, 0, "0", NULL,
     "train.schedule.name=constant|step|onecycle|linear|plateau",
     "epochs over which the rate rises from 0 at the start"},
    {"train.schedule.warmup_fraction", HONE_TYPE_FLOAT, AT(train.schedule.warmup_fraction), 0, 1, 0, "0", NULL, NULL,
     "the same as a share of all steps of the run, in place of warmup; 0 = by warmup"},
    {"train.schedule.final", HONE_TYPE_FLOAT, AT(train.schedule.final), 0, 1, 0, "0", NULL,
     "train.schedule.name=cosine|linear|onecycle", "rate at the end, as a share of lr"},
    {"train.schedule.step_every", HONE_TYPE_FLOAT, AT(train.schedule.step_every), 0, 1000000, ABOVE, "30", NULL,
     "train.schedule.name=step", "epochs between two cuts"},
    {"train.schedule.gamma", HONE_TYPE_FLOAT, AT(train.schedule.gamma), 0, 1, ABOVE, "0.1", NULL,
     "train.schedule.name=step|plateau", "factor of a cut"},
    {"train.schedule.plateau_patience", HONE_TYPE_INT, AT(train.schedule.plateau_patience), 0, 1000000, 0, "10", NULL,
     "train.schedule.name=plateau", "epochs without progress before a cut"},

    /* torch.nn.CrossEntropyLoss with label_smoothing and weight. */
    GROUP("train.loss", NULL, "cross-entropy, as PyTorch defines it"),
    {"train.loss.label_smoothing", HONE_TYPE_FLOAT, AT(train.loss.label_smoothing), 0, 1, BELOW, "0.1", NULL, NULL,
     "share of the target that is spread over all classes"},
    {"train.loss.class_weights", HONE_TYPE_WEIGHTS, AT(train.loss.class_weights), 0, 1e9, 0, "none", "none|balanced",
     NULL, "none, balanced (inverse of the class frequency), or {class: weight}"},
    {"train.clip_norm", HONE_TYPE_FLOAT, AT(train.clip_norm), 0, 1e9, 0, "0", NULL, NULL,
     "longest gradient, all parameters together; 0 = off"},
    {"train.ema", HONE_TYPE_FLOAT, AT(train.ema), 0, 1, BELOW, "0", NULL, NULL,
     "decay of the moving average of weights and running statistics that evaluation uses; warms up; 0 = off"},
    /* The metric also names the best weights, so it counts where patience is off. */
    GROUP("train.early_stop", NULL, "ends the run when validation stops improving"),
    {"train.early_stop.metric", HONE_TYPE_WORD, AT(train.early_stop.metric), 0, 0, 0, "accuracy", "accuracy|loss", NULL,
     "what is watched; also decides which weights are the best"},
    {"train.early_stop.patience", HONE_TYPE_INT, AT(train.early_stop.patience), 0, 1000000, 0, "0", NULL, NULL,
     "epochs without progress before the end; 0 = off"},
    /* What guards a run, and what it starts from. */
    {"train.max_bad_steps", HONE_TYPE_INT, AT(train.max_bad_steps), 1, 1000000, 0, "10", NULL, NULL,
     "steps in a row with a non-finite loss or gradient (skipped and counted) that end the run"},
    {"train.init", HONE_TYPE_STRING, AT(train.init), 0, 0, OPTIONAL | HONE_ROW_NONE, "none", NULL, NULL,
     "safetensors file, run directory, or folder of a Hugging Face model; names that match are loaded and counted"},
    {"train.freeze", HONE_TYPE_STRINGS, AT(train.freeze), 0, 0, 0, "[]", NULL, NULL,
     "patterns of parameter names that do not learn, as for file names"},
    {"train.layer_decay", HONE_TYPE_FLOAT, AT(train.layer_decay), 0, 1, ABOVE, "1", NULL, NULL,
     "factor of the rate from one block of the net to the one before it; layers behind the last block have the full "
     "rate"},
    /* What decides whether two runs give the same bits. */
    {"train.shuffle", HONE_TYPE_BOOL, AT(train.shuffle), 0, 0, 0, "true", NULL, NULL,
     "a new order each epoch, a function of seed and epoch"},
    {"train.deterministic", HONE_TYPE_BOOL, AT(train.deterministic), 0, 0, 0, "true", NULL, NULL,
     "false lets GPU libraries pick quicker, unordered algorithms"},
    {"train.precision", HONE_TYPE_ENUM, AT(train.precision), 0, 0, 0, "auto", "auto|fp32|tf32|bf16|fp16", NULL,
     "auto = fp32 on a CPU, bf16 on sm_80 and later; fp16 uses a loss scale"},
    {"train.loss_scale", HONE_TYPE_FLOAT, AT(train.loss_scale), 0, 1e30, ABOVE, "65536", NULL, NULL,
     "fp16: the first loss scale; it doubles every 2000 good steps and halves where a gradient overflows"},
    {"train.seed", HONE_TYPE_INT64, AT(train.seed), 0, 9e18, 0, "1", NULL, NULL, "key of every random draw"},

    /* Saving costs time, losing an epoch costs more: one an epoch, two kept in case one is cut. */
    GROUP("checkpoint", NULL, "what is saved while training"),
    {"checkpoint.every", HONE_TYPE_INTERVAL, AT(checkpoint.every), 0, 0, 0, "1 epoch", NULL, NULL,
     "distance of two checkpoints: N epochs, N steps, a time (20m), or none"},
    {"checkpoint.keep", HONE_TYPE_INT, AT(checkpoint.keep), 0, 1000000, 0, "2", NULL, NULL,
     "newest checkpoints that stay; 0 = all"},
    {"checkpoint.initial", HONE_TYPE_BOOL, AT(checkpoint.initial), 0, 0, 0, "false", NULL, NULL,
     "also keep step 0, before any update"},
    GROUP("log", NULL, "what is written while training"),
    {"log.every", HONE_TYPE_INT, AT(log.every), 1, BIG, 0, "50", NULL, NULL,
     "steps between two lines of metrics.jsonl; 1 writes each step's loss"},
};
/* clang-format on */
const int hone_schema_count = (int)(sizeof hone_schema / sizeof *hone_schema);

/* A linear search: the table is short, and read a few hundred times at most. */
const hone_row *hone_schema_find(const char *key)
{
    for (int k = 0; k < hone_schema_count; k++)
        if (strcmp(hone_schema[k].key, key) == 0) return &hone_schema[k];
    return NULL;
}

int hone_choice_list(const char *choices, char *storage, size_t storage_bytes, const char *word[16])
{
    int count = 0;
    size_t bytes = strlen(choices) + 1;
    if (bytes > storage_bytes) return 0;
    memcpy(storage, choices, bytes);
    for (char *s = storage; s && count < 16;) {
        word[count++] = s;
        s = strchr(s, '|');
        if (s) *s++ = '\0';
    }
    return count;
}

int hone_choice_index(const char *choices, const char *word)
{
    char storage[256];
    const char *choice[16];
    int count = hone_choice_list(choices, storage, sizeof storage, choice);
    for (int k = 0; k < count; k++)
        if (strcmp(choice[k], word) == 0) return k;
    return -1;
}

/* The word that an ENUM or WORD row holds, NULL: none yet; `storage` (256) is where it may lie. Takes no memory: a row
 * that seemed not to apply because memory ran out would keep a 0 for its default. */
static const char *chosen_word(const hone_row *row, const hone_config *c, char *storage)
{
    const void *field = (const char *)c + row->offset;
    const char *choice[16];
    if (row->type == HONE_TYPE_WORD) return *(char *const *)field;
    int count = hone_choice_list(row->choices, storage, 256, choice), at = *(const int *)field;
    return at >= 0 && at < count ? choice[at] : NULL;
}

bool hone_row_applies(const hone_row *row, const hone_config *c)
{
    if (!row->only) return true;
    const char *equals = strchr(row->only, '=');
    if (!equals) { /* a key that has to be written */
        const hone_yaml *n = hone_page_find(c->page, row->only);
        return n && !hone_yaml_null(n);
    }
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals - row->only), row->only);
    const hone_row *other = hone_schema_find(key);
    char storage[256];
    const char *word = chosen_word(other, c, storage);
    return word && hone_choice_index(equals + 1, word) >= 0;
}
