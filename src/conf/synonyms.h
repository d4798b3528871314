/*
 * conf/synonyms - words that other filters and servers use for what a rule file says, and what to write here.
 *
 * Thread: read only.
 */
#ifndef POSTERN_CONF_SYNONYMS_H
#define POSTERN_CONF_SYNONYMS_H

/*
 * What to write in place of `word`, as half a sentence (`write refuse`): as a value of `key`, or, with NULL, as a key's
 * name. NULL where the word is none of the field's. ASCII case does not count.
 */
const char *synonym_advice(const char *key, const char *word);

#endif
