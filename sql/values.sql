-- The values layer: functions over the rows that a query selects. The states of aggregates are values of the types here,
-- so that they merge across workers, partitions and tables; what serves them stands in persona_internal.

-- stats: count, mean, moments and range of a column -----------------------------------------------------------------------

CREATE TYPE persona.stats;
CREATE FUNCTION persona_internal.stats_in(cstring) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_in';
CREATE FUNCTION persona_internal.stats_out(persona.stats) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_out';
CREATE FUNCTION persona_internal.stats_recv(internal) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_recv';
CREATE FUNCTION persona_internal.stats_send(persona.stats) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_send';
CREATE TYPE persona.stats (
  INPUT = persona_internal.stats_in, OUTPUT = persona_internal.stats_out,
  RECEIVE = persona_internal.stats_recv, SEND = persona_internal.stats_send,
  INTERNALLENGTH = 64, ALIGNMENT = double, STORAGE = plain);
COMMENT ON TYPE persona.stats IS
  'what stats_agg() knows of a column: count, mean, sums of powers of deviations, least and greatest value, in 64 bytes. Read it with mean(), stddev() and their like; merge it with rollup().';

CREATE FUNCTION persona_internal.stats_accum(state persona.stats, x float8) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_accum';
CREATE FUNCTION persona_internal.stats_combine(state persona.stats, other persona.stats) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_combine';
CREATE FUNCTION persona_internal.stats_final(state persona.stats) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_final';

CREATE AGGREGATE persona.stats_agg(x float8) (
  SFUNC = persona_internal.stats_accum, STYPE = persona.stats, SSPACE = 64,
  FINALFUNC = persona_internal.stats_final, COMBINEFUNC = persona_internal.stats_combine,
  INITCOND = '{count: 0, origin: 0, offset: 0, m2: 0, m3: 0, m4: 0, min: 0, max: 0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.stats_agg(float8) IS
$$Count, mean, moments and range of a column in one pass, as a persona.stats; NULL without a value. NULLs are skipped.
NaN and infinities count as in avg() and stddev(). 22003 where finite values have squares that overflow. Pebay 2008, SAND2008-6212.$$;
CREATE AGGREGATE persona.rollup(s persona.stats) (
  SFUNC = persona_internal.stats_combine, STYPE = persona.stats, SSPACE = 64,
  FINALFUNC = persona_internal.stats_final, COMBINEFUNC = persona_internal.stats_combine,
  INITCOND = '{count: 0, origin: 0, offset: 0, m2: 0, m3: 0, m4: 0, min: 0, max: 0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rollup(persona.stats) IS
  'The statistics of all values behind these statistics: hours to days, shops to countries. NULLs are skipped.';

CREATE FUNCTION persona.num_vals(s persona.stats) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_num_vals';
COMMENT ON FUNCTION persona.num_vals(persona.stats) IS 'How many values there were, without NULLs.';
CREATE FUNCTION persona.mean(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_mean';
COMMENT ON FUNCTION persona.mean(persona.stats) IS 'The mean, as avg().';
CREATE FUNCTION persona.variance(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_variance';
COMMENT ON FUNCTION persona.variance(persona.stats) IS 'The variance of the sample (over n - 1), as variance(); NULL below two values.';
CREATE FUNCTION persona.variance_pop(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_variance_pop';
COMMENT ON FUNCTION persona.variance_pop(persona.stats) IS 'The variance of the population (over n), as var_pop().';
CREATE FUNCTION persona.stddev(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_stddev';
COMMENT ON FUNCTION persona.stddev(persona.stats) IS 'The standard deviation of the sample (over n - 1), as stddev(); NULL below two values.';
CREATE FUNCTION persona.stddev_pop(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_stddev_pop';
COMMENT ON FUNCTION persona.stddev_pop(persona.stats) IS 'The standard deviation of the population (over n), as stddev_pop().';
CREATE FUNCTION persona.skewness(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_skewness';
COMMENT ON FUNCTION persona.skewness(persona.stats) IS
  'The third standardized moment of the population: 0 where symmetric, above 0 with a long tail of large values. NULL where all values are equal. As scipy.stats.skew().';
CREATE FUNCTION persona.kurtosis(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_kurtosis';
COMMENT ON FUNCTION persona.kurtosis(persona.stats) IS
  'The fourth standardized moment of the population less 3: 0 for a normal distribution. NULL where all values are equal. As scipy.stats.kurtosis().';
CREATE FUNCTION persona.min(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_min';
COMMENT ON FUNCTION persona.min(persona.stats) IS 'The least value.';
CREATE FUNCTION persona.max(s persona.stats) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_max';
COMMENT ON FUNCTION persona.max(persona.stats) IS 'The greatest value; NaN counts as greater than any other.';
CREATE FUNCTION persona.z_score(s persona.stats, x float8) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_z_score';
COMMENT ON FUNCTION persona.z_score(persona.stats, float8) IS
  'How many standard deviations (of the sample) x lies above the mean. A deviation of 0 counts as 1; NULL below two values.';
CREATE FUNCTION persona.min_max_scale(s persona.stats, x float8) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_stats_min_max_scale';
COMMENT ON FUNCTION persona.min_max_scale(persona.stats, float8) IS
  'Where x lies between the least value (0) and the greatest (1); outside of 0 to 1 for values that the statistics have not seen. A range of 0 counts as 1.';

CREATE TYPE persona.column_stats;
CREATE FUNCTION persona_internal.column_stats_in(cstring) RETURNS persona.column_stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_in';
CREATE FUNCTION persona_internal.column_stats_out(persona.column_stats) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_out';
CREATE FUNCTION persona_internal.column_stats_recv(internal) RETURNS persona.column_stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_recv';
CREATE FUNCTION persona_internal.column_stats_send(persona.column_stats) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_send';
CREATE TYPE persona.column_stats (
  INPUT = persona_internal.column_stats_in, OUTPUT = persona_internal.column_stats_out,
  RECEIVE = persona_internal.column_stats_recv, SEND = persona_internal.column_stats_send,
  INTERNALLENGTH = variable, ALIGNMENT = double, STORAGE = extended);
COMMENT ON TYPE persona.column_stats IS
  'what stats_agg() knows of each position of an array; 64 bytes a position. Read it with stats_of() or with mean(s, number) and its like.';

CREATE FUNCTION persona_internal.column_stats_accum(state persona.column_stats, x float8[]) RETURNS persona.column_stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_accum';
CREATE FUNCTION persona_internal.column_stats_combine(state persona.column_stats, other persona.column_stats)
  RETURNS persona.column_stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_combine';
CREATE FUNCTION persona_internal.column_stats_final(state persona.column_stats) RETURNS persona.column_stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_final';

CREATE AGGREGATE persona.stats_agg(x float8[]) (
  SFUNC = persona_internal.column_stats_accum, STYPE = persona.column_stats, SSPACE = 1024,
  FINALFUNC = persona_internal.column_stats_final, COMBINEFUNC = persona_internal.column_stats_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.stats_agg(float8[]) IS
$$The statistics of each position of an array, as a persona.column_stats; NULL without an array. NULL arrays and NULL elements are skipped.
2202E where arrays differ in length; 22003 as for a single column.$$;
CREATE AGGREGATE persona.rollup(s persona.column_stats) (
  SFUNC = persona_internal.column_stats_combine, STYPE = persona.column_stats, SSPACE = 1024,
  FINALFUNC = persona_internal.column_stats_final, COMBINEFUNC = persona_internal.column_stats_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rollup(persona.column_stats) IS 'The statistics of all arrays behind these statistics. NULLs are skipped.';

CREATE FUNCTION persona.num_columns(s persona.column_stats) RETURNS int
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_num_columns';
COMMENT ON FUNCTION persona.num_columns(persona.column_stats) IS 'How many positions the arrays have.';
CREATE FUNCTION persona.stats_of(s persona.column_stats, number int) RETURNS persona.stats
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_column_stats_of';
COMMENT ON FUNCTION persona.stats_of(persona.column_stats, int) IS
  'The statistics of one position, from 1; NULL where there is no such position, or no value in it.';

-- One accessor a line: that of the statistics of one position.
CREATE FUNCTION persona.num_vals(s persona.column_stats, number int) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.num_vals(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.num_vals(persona.column_stats, int) IS 'num_vals() of the position of that number, from 1.';
CREATE FUNCTION persona.mean(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.mean(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.mean(persona.column_stats, int) IS 'mean() of the position of that number, from 1.';
CREATE FUNCTION persona.variance(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.variance(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.variance(persona.column_stats, int) IS 'variance() of the position of that number, from 1.';
CREATE FUNCTION persona.variance_pop(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.variance_pop(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.variance_pop(persona.column_stats, int) IS 'variance_pop() of the position of that number, from 1.';
CREATE FUNCTION persona.stddev(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.stddev(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.stddev(persona.column_stats, int) IS 'stddev() of the position of that number, from 1.';
CREATE FUNCTION persona.stddev_pop(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.stddev_pop(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.stddev_pop(persona.column_stats, int) IS 'stddev_pop() of the position of that number, from 1.';
CREATE FUNCTION persona.skewness(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.skewness(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.skewness(persona.column_stats, int) IS 'skewness() of the position of that number, from 1.';
CREATE FUNCTION persona.kurtosis(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.kurtosis(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.kurtosis(persona.column_stats, int) IS 'kurtosis() of the position of that number, from 1.';
CREATE FUNCTION persona.min(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.min(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.min(persona.column_stats, int) IS 'min() of the position of that number, from 1.';
CREATE FUNCTION persona.max(s persona.column_stats, number int) RETURNS float8
  LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN persona.max(persona.stats_of(s, number));
COMMENT ON FUNCTION persona.max(persona.column_stats, int) IS 'max() of the position of that number, from 1.';

-- scalers: window functions over a whole partition ---------------------------------------------------------------------------

CREATE FUNCTION persona.standard_scaler(x float8) RETURNS float8
  LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_standard_scaler';
COMMENT ON FUNCTION persona.standard_scaler(float8) IS
$$x less the mean, over the standard deviation of the population: scikit-learn's StandardScaler, BigQuery ML's ML.STANDARD_SCALER. A constant column gives 0.
Over the whole partition, whatever ORDER BY and frame say. NULL gives NULL, NaN gives NaN, neither counts; 22003 for infinity.$$;
CREATE FUNCTION persona.min_max_scaler(x float8) RETURNS float8
  LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_min_max_scaler';
COMMENT ON FUNCTION persona.min_max_scaler(float8) IS
$$Where x lies between the least value (0) and the greatest (1): scikit-learn's MinMaxScaler, BigQuery ML's ML.MIN_MAX_SCALER. A constant column gives 0.
Over the whole partition, whatever ORDER BY and frame say. NULL gives NULL, NaN gives NaN, neither counts; 22003 for infinity.$$;
CREATE FUNCTION persona.max_abs_scaler(x float8) RETURNS float8
  LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_max_abs_scaler';
COMMENT ON FUNCTION persona.max_abs_scaler(float8) IS
$$x over the greatest absolute value, -1 to 1: scikit-learn's MaxAbsScaler, BigQuery ML's ML.MAX_ABS_SCALER.
Over the whole partition, whatever ORDER BY and frame say. NULL gives NULL, NaN gives NaN, neither counts; 22003 for infinity.$$;
CREATE FUNCTION persona.robust_scaler(x float8) RETURNS float8
  LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_robust_scaler';
COMMENT ON FUNCTION persona.robust_scaler(float8) IS
$$x less the median, over the distance of the quartiles, which outliers do not move: scikit-learn's RobustScaler, BigQuery ML's ML.ROBUST_SCALER. A distance of 0 counts as 1.
Over the whole partition, whatever ORDER BY and frame say; takes 16 bytes a row while it sorts. NULL gives NULL, NaN gives NaN, neither counts; 22003 for infinity.$$;
CREATE FUNCTION persona.quantile_bucketize(x float8, num_buckets int) RETURNS int
  LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantile_bucketize';
COMMENT ON FUNCTION persona.quantile_bucketize(float8, int) IS
$$The bucket of x, 1 to num_buckets, among buckets of about equally many values, as BigQuery ML's ML.QUANTILE_BUCKETIZE: bucket k begins with the value below which k - 1 parts of num_buckets end. Equal values share a bucket, which ntile() would split.
Over the whole partition, whatever ORDER BY and frame say; takes 8 bytes a row, 16 while it sorts. NULL and NaN give NULL and do not count; 22023 for num_buckets below 1.$$;

-- rfm: recency, frequency and monetary value of a customer ---------------------------------------------------------------------

CREATE TYPE persona.rfm;
CREATE FUNCTION persona_internal.rfm_in(cstring) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_in';
CREATE FUNCTION persona_internal.rfm_out(persona.rfm) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_out';
CREATE FUNCTION persona_internal.rfm_recv(internal) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_recv';
CREATE FUNCTION persona_internal.rfm_send(persona.rfm) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_send';
CREATE TYPE persona.rfm (
  INPUT = persona_internal.rfm_in, OUTPUT = persona_internal.rfm_out,
  RECEIVE = persona_internal.rfm_recv, SEND = persona_internal.rfm_send,
  INTERNALLENGTH = 40, ALIGNMENT = double, STORAGE = plain);
COMMENT ON TYPE persona.rfm IS
  'what rfm_agg() knows of a customer: first and last purchase, number of orders, total amount, in 40 bytes. Its text has the times as microseconds since 2000-01-01 UTC. Read it with recency_days(), frequency() and monetary().';

CREATE FUNCTION persona_internal.rfm_accum(state persona.rfm, at timestamptz, amount float8) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_accum';
CREATE FUNCTION persona_internal.rfm_accum(state persona.rfm, at date, amount float8) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_accum_date';
CREATE FUNCTION persona_internal.rfm_combine(state persona.rfm, other persona.rfm) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_combine';
CREATE FUNCTION persona_internal.rfm_final(state persona.rfm) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_final';

CREATE AGGREGATE persona.rfm_agg(at timestamptz, amount float8) (
  SFUNC = persona_internal.rfm_accum, STYPE = persona.rfm, SSPACE = 40,
  FINALFUNC = persona_internal.rfm_final, COMBINEFUNC = persona_internal.rfm_combine,
  INITCOND = '{frequency: 0, first: 0, last: 0, monetary: 0, lost: 0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rfm_agg(timestamptz, float8) IS
$$Recency, frequency and monetary value of the purchases of one customer, as a persona.rfm; each row is an order. NULL without a row; rows with a NULL are skipped.
A refund is a row with a negative amount: it lowers monetary() and counts as an order. 22003 for amounts that are not finite, 22008 for infinite times.$$;
CREATE AGGREGATE persona.rfm_agg(at date, amount float8) (
  SFUNC = persona_internal.rfm_accum, STYPE = persona.rfm, SSPACE = 40,
  FINALFUNC = persona_internal.rfm_final, COMBINEFUNC = persona_internal.rfm_combine,
  INITCOND = '{frequency: 0, first: 0, last: 0, monetary: 0, lost: 0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rfm_agg(date, float8) IS
  'The same with days, which begin at midnight UTC whatever the time zone of the session: ask recency_days() with a date and it answers whole days.';
CREATE AGGREGATE persona.rollup(r persona.rfm) (
  SFUNC = persona_internal.rfm_combine, STYPE = persona.rfm, SSPACE = 40,
  FINALFUNC = persona_internal.rfm_final, COMBINEFUNC = persona_internal.rfm_combine,
  INITCOND = '{frequency: 0, first: 0, last: 0, monetary: 0, lost: 0}', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rollup(persona.rfm) IS
  'The rfm of all purchases behind these: of the months of a customer, of the customers of a household. Frequencies are added. NULLs are skipped.';

-- With an order id the state also holds which orders were seen: 16 to 43 bytes an order.
CREATE TYPE persona_internal.rfm_orders;
CREATE FUNCTION persona_internal.rfm_orders_in(cstring) RETURNS persona_internal.rfm_orders
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_in';
CREATE FUNCTION persona_internal.rfm_orders_out(persona_internal.rfm_orders) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_out';
CREATE FUNCTION persona_internal.rfm_orders_recv(internal) RETURNS persona_internal.rfm_orders
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_recv';
CREATE FUNCTION persona_internal.rfm_orders_send(persona_internal.rfm_orders) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_send';
CREATE TYPE persona_internal.rfm_orders (
  INPUT = persona_internal.rfm_orders_in, OUTPUT = persona_internal.rfm_orders_out,
  RECEIVE = persona_internal.rfm_orders_recv, SEND = persona_internal.rfm_orders_send,
  INTERNALLENGTH = variable, ALIGNMENT = double, STORAGE = extended);
COMMENT ON TYPE persona_internal.rfm_orders IS 'the state of rfm_agg() with an order id';

CREATE FUNCTION persona_internal.rfm_orders_accum(state persona_internal.rfm_orders, at timestamptz, amount float8, order_id anyelement)
  RETURNS persona_internal.rfm_orders
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_accum';
CREATE FUNCTION persona_internal.rfm_orders_accum(state persona_internal.rfm_orders, at date, amount float8, order_id anyelement)
  RETURNS persona_internal.rfm_orders
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_accum_date';
CREATE FUNCTION persona_internal.rfm_orders_combine(state persona_internal.rfm_orders, other persona_internal.rfm_orders)
  RETURNS persona_internal.rfm_orders
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_combine';
CREATE FUNCTION persona_internal.rfm_orders_final(state persona_internal.rfm_orders) RETURNS persona.rfm
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_orders_final';

CREATE AGGREGATE persona.rfm_agg(at timestamptz, amount float8, order_id anyelement) (
  SFUNC = persona_internal.rfm_orders_accum, STYPE = persona_internal.rfm_orders, SSPACE = 256,
  FINALFUNC = persona_internal.rfm_orders_final, COMBINEFUNC = persona_internal.rfm_orders_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rfm_agg(timestamptz, float8, anyelement) IS
  'The same where an order has many rows: frequency() counts the distinct order ids, of any type that can be hashed. Rows without an order id are skipped.';
CREATE AGGREGATE persona.rfm_agg(at date, amount float8, order_id anyelement) (
  SFUNC = persona_internal.rfm_orders_accum, STYPE = persona_internal.rfm_orders, SSPACE = 256,
  FINALFUNC = persona_internal.rfm_orders_final, COMBINEFUNC = persona_internal.rfm_orders_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rfm_agg(date, float8, anyelement) IS 'The same with days, which begin at midnight UTC.';

CREATE FUNCTION persona.recency_days(r persona.rfm, as_of timestamptz) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_recency_days';
COMMENT ON FUNCTION persona.recency_days(persona.rfm, timestamptz) IS
  'Days of 24 hours from the last purchase to a moment, with fractions; below 0 for a moment before it.';
CREATE FUNCTION persona.recency_days(r persona.rfm, as_of date) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_recency_days_date';
COMMENT ON FUNCTION persona.recency_days(persona.rfm, date) IS
  'Days from the last purchase to midnight UTC of a date: whole days after rfm_agg(date, …).';
CREATE FUNCTION persona.age_days(r persona.rfm, as_of timestamptz) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_age_days';
COMMENT ON FUNCTION persona.age_days(persona.rfm, timestamptz) IS
  'Days of 24 hours from the first purchase to a moment, with fractions.';
CREATE FUNCTION persona.age_days(r persona.rfm, as_of date) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_age_days_date';
COMMENT ON FUNCTION persona.age_days(persona.rfm, date) IS 'Days from the first purchase to midnight UTC of a date.';
CREATE FUNCTION persona.frequency(r persona.rfm) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_frequency';
COMMENT ON FUNCTION persona.frequency(persona.rfm) IS 'How many orders there were: rows, or distinct order ids where rfm_agg() was given them.';
CREATE FUNCTION persona.monetary(r persona.rfm) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_monetary';
COMMENT ON FUNCTION persona.monetary(persona.rfm) IS 'The total of the amounts, refunds taken off.';
CREATE FUNCTION persona.first_at(r persona.rfm) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_first_at';
COMMENT ON FUNCTION persona.first_at(persona.rfm) IS 'The time of the first purchase.';
CREATE FUNCTION persona.last_at(r persona.rfm) RETURNS timestamptz
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_rfm_last_at';
COMMENT ON FUNCTION persona.last_at(persona.rfm) IS 'The time of the last purchase.';

-- page_hinkley: where the mean of a stream changes ------------------------------------------------------------------------------

CREATE TYPE persona.detection AS (drift bool, drifts int, last_position bigint, value float8);
COMMENT ON TYPE persona.detection IS 'what a drift detector says after the values so far';
COMMENT ON COLUMN persona.detection.drift IS 'whether the last value raised an alarm; drifts > 0 says whether any did';
COMMENT ON COLUMN persona.detection.drifts IS 'how many alarms there were';
COMMENT ON COLUMN persona.detection.last_position IS 'the value that raised the last alarm, counted from 1; NULL without one';
COMMENT ON COLUMN persona.detection.value IS 'what was compared with the threshold after the last value, in the units of the values';

CREATE FUNCTION persona_internal.page_hinkley_accum(state float8[], x float8) RETURNS float8[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_page_hinkley_accum';
CREATE FUNCTION persona_internal.page_hinkley_accum(
  state float8[], x float8, min_instances int, delta float8, threshold float8, alpha float8, mode text) RETURNS float8[]
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_page_hinkley_accum_with';
CREATE FUNCTION persona_internal.page_hinkley_final(state float8[]) RETURNS persona.detection
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_page_hinkley_final';

-- The order of rows is the point: no combine function, and never below a Gather.
CREATE AGGREGATE persona.page_hinkley(x float8) (
  SFUNC = persona_internal.page_hinkley_accum, STYPE = float8[], SSPACE = 144,
  FINALFUNC = persona_internal.page_hinkley_final,
  INITCOND = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE persona.page_hinkley(float8) IS
$$The Page-Hinkley test over values in order, as river's drift.PageHinkley with its defaults: min_instances 30, delta 0.005, threshold 50, alpha 0.9999, mode 'both'.
Write the order inside, page_hinkley(x ORDER BY at), or over rows, page_hinkley(x) OVER (ORDER BY at ROWS UNBOUNDED PRECEDING). NULLs are skipped and have no position; 22003 for values that are not finite; NULL without a value.$$;
CREATE AGGREGATE persona.page_hinkley(x float8, min_instances int, delta float8, threshold float8, alpha float8, mode text) (
  SFUNC = persona_internal.page_hinkley_accum, STYPE = float8[], SSPACE = 144,
  FINALFUNC = persona_internal.page_hinkley_final,
  INITCOND = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE persona.page_hinkley(float8, int, float8, float8, float8, text) IS
$$The same with parameters, which are those of the first row: min_instances values after the start or an alarm come without one; delta, in units of x, is the change of the mean that is tolerated; an alarm comes where the sum of deviations is more than threshold away from its extreme; alpha (above 0, at most 1) is what the sum keeps of itself at each value; mode is 'up', 'down' or 'both'.
22023 for parameters out of range, 22004 for NULL ones.$$;

-- quantiles: a distribution of numbers, for quantiles and drift -------------------------------------------------------------------

CREATE TYPE persona.quantiles;
CREATE FUNCTION persona_internal.quantiles_in(cstring) RETURNS persona.quantiles
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_in';
CREATE FUNCTION persona_internal.quantiles_out(persona.quantiles) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_out';
CREATE FUNCTION persona_internal.quantiles_recv(internal) RETURNS persona.quantiles
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_recv';
CREATE FUNCTION persona_internal.quantiles_send(persona.quantiles) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_send';
CREATE TYPE persona.quantiles (
  INPUT = persona_internal.quantiles_in, OUTPUT = persona_internal.quantiles_out,
  RECEIVE = persona_internal.quantiles_recv, SEND = persona_internal.quantiles_send,
  INTERNALLENGTH = variable, ALIGNMENT = double, STORAGE = extended);
COMMENT ON TYPE persona.quantiles IS
  'what quantile_agg() knows of a distribution: all values up to 8191, above that a summary whose ranks are off by at most rank_error(). 8 bytes a value, at most 32 kB for each doubling above 4096 values.';

CREATE FUNCTION persona_internal.quantiles_accum(state persona.quantiles, x float8) RETURNS persona.quantiles
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_accum';
CREATE FUNCTION persona_internal.quantiles_combine(state persona.quantiles, other persona.quantiles) RETURNS persona.quantiles
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_combine';
CREATE FUNCTION persona_internal.quantiles_final(state persona.quantiles) RETURNS persona.quantiles
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_final';

CREATE AGGREGATE persona.quantile_agg(x float8) (
  SFUNC = persona_internal.quantiles_accum, STYPE = persona.quantiles, SSPACE = 4096,
  FINALFUNC = persona_internal.quantiles_final, COMBINEFUNC = persona_internal.quantiles_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.quantile_agg(float8) IS
$$The distribution of a column in one pass, as a persona.quantiles; NULL without a value. NULLs are skipped; values are ordered as Postgres orders them, NaN above all others.
Exact up to 8191 values. Above that it depends on the order of rows, within rank_error(). Agarwal et al. 2012, "Mergeable summaries".$$;
CREATE AGGREGATE persona.rollup(q persona.quantiles) (
  SFUNC = persona_internal.quantiles_combine, STYPE = persona.quantiles, SSPACE = 65536,
  FINALFUNC = persona_internal.quantiles_final, COMBINEFUNC = persona_internal.quantiles_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rollup(persona.quantiles) IS
  'The distribution of all values behind these distributions: the errors of their ranks add up, and merging adds as much as reading the values would. NULLs are skipped.';

CREATE FUNCTION persona.num_vals(q persona.quantiles) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_num_vals';
COMMENT ON FUNCTION persona.num_vals(persona.quantiles) IS 'How many values there were, without NULLs.';
CREATE FUNCTION persona.rank_error(q persona.quantiles) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_rank_error';
COMMENT ON FUNCTION persona.rank_error(persona.quantiles) IS
  'By how much a share of values may be wrong at most: 0.001 means that quantile(q, 0.5) lies between the true quantiles 0.499 and 0.501. 0 up to 8191 values; below log2(n / 4096) / 8192 for n.';
CREATE FUNCTION persona.quantile(q persona.quantiles, p float8) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_quantile';
COMMENT ON FUNCTION persona.quantile(persona.quantiles, float8) IS
  'The value that a share p of all values does not exceed, interpolated between neighbours as percentile_cont() does; 22023 for p outside of 0 to 1.';
CREATE FUNCTION persona.robust_scale(q persona.quantiles, x float8) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_robust_scale';
COMMENT ON FUNCTION persona.robust_scale(persona.quantiles, float8) IS
  'x less the median, over the distance of the quartiles; a distance of 0 counts as 1.';

CREATE TYPE persona.categories;
CREATE FUNCTION persona_internal.categories_in(cstring) RETURNS persona.categories
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_in';
CREATE FUNCTION persona_internal.categories_out(persona.categories) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_out';
CREATE FUNCTION persona_internal.categories_recv(internal) RETURNS persona.categories
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_recv';
CREATE FUNCTION persona_internal.categories_send(persona.categories) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_send';
CREATE TYPE persona.categories (
  INPUT = persona_internal.categories_in, OUTPUT = persona_internal.categories_out,
  RECEIVE = persona_internal.categories_recv, SEND = persona_internal.categories_send,
  INTERNALLENGTH = variable, ALIGNMENT = double, STORAGE = extended);
COMMENT ON TYPE persona.categories IS
  'what category_agg() knows of a column: how often each category occurs, by a hash of 128 bits; at most 96 kB. Exact up to 3072 categories; above that each count is low by at most 1 in 1536 of all rows.';

CREATE FUNCTION persona_internal.categories_accum(state persona.categories, category text) RETURNS persona.categories
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_accum';
CREATE FUNCTION persona_internal.categories_combine(state persona.categories, other persona.categories) RETURNS persona.categories
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_combine';
CREATE FUNCTION persona_internal.categories_final(state persona.categories) RETURNS persona.categories
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_final';

CREATE AGGREGATE persona.category_agg(category text) (
  SFUNC = persona_internal.categories_accum, STYPE = persona.categories, SSPACE = 1024,
  FINALFUNC = persona_internal.categories_final, COMBINEFUNC = persona_internal.categories_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.category_agg(text) IS
$$How often each category of a column occurs, as a persona.categories; NULL without a row. NULLs are skipped; texts are told apart by their bytes.
Misra and Gries 1982, merged as in Agarwal et al. 2012.$$;
CREATE AGGREGATE persona.rollup(c persona.categories) (
  SFUNC = persona_internal.categories_combine, STYPE = persona.categories, SSPACE = 1024,
  FINALFUNC = persona_internal.categories_final, COMBINEFUNC = persona_internal.categories_combine,
  INITCOND = '\x01000000', PARALLEL = SAFE);
COMMENT ON AGGREGATE persona.rollup(persona.categories) IS 'The categories of all rows behind these. NULLs are skipped.';
CREATE FUNCTION persona.num_vals(c persona.categories) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_num_vals';
COMMENT ON FUNCTION persona.num_vals(persona.categories) IS 'How many rows there were, without NULLs.';

-- drift between two distributions -------------------------------------------------------------------------------------------------

CREATE TYPE persona.test_result AS (statistic float8, p_value float8);
COMMENT ON TYPE persona.test_result IS 'what a statistical test answers';
COMMENT ON COLUMN persona.test_result.statistic IS 'what the test measures';
COMMENT ON COLUMN persona.test_result.p_value IS 'how probable a statistic at least as great is where nothing differs, 0 to 1';

CREATE FUNCTION persona.psi(a persona.quantiles, b persona.quantiles, bins int DEFAULT 10) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_psi';
COMMENT ON FUNCTION persona.psi(persona.quantiles, persona.quantiles, int) IS
$$The population stability index: how far the distribution b has moved from the reference a; 0 where it has not, customarily stable below 0.1 and changed above 0.25.
The sum over bins of (q - p) ln(q / p), with bins that end with the quantiles of a, and 0.0001 for the share of an empty one. 22023 for bins outside of 2 to 1000.$$;
CREATE FUNCTION persona.psi(a persona.categories, b persona.categories) RETURNS float8
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_categories_psi';
COMMENT ON FUNCTION persona.psi(persona.categories, persona.categories) IS
  'The population stability index over categories: each is a bin, and 0.0001 the share of one that does not occur.';
CREATE FUNCTION persona.ks_test(a persona.quantiles, b persona.quantiles) RETURNS persona.test_result
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_quantiles_ks_test';
COMMENT ON FUNCTION persona.ks_test(persona.quantiles, persona.quantiles) IS
$$The two-sample Kolmogorov-Smirnov test: the greatest distance of the cumulative distributions, and its two-sided p-value, which is exact for small samples (sizes with a product of at most 2^24) and asymptotic for others.
The statistic is wrong by at most rank_error(a) + rank_error(b). Large samples make small differences significant: see psi() for their size.$$;
