import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.api.java.tuple.Tuple4;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The job of order-analytics on Apache Flink, tuned by hand: orders and their totals per user and minute, exactly once,
 * from what a topic held at the start. Objects are reused, records are scanned for three fields and not parsed as JSON,
 * state is on the heap. Arguments: brokers, input topic, output topic, parallelism, folder for checkpoints.
 */
public class OrderCounts {
    private static final byte[] USER = "\"user_id\":".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] TOTAL = "\"total_cents\":".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] CREATED = "\"created_at\":\"".getBytes(StandardCharsets.US_ASCII);

    public static void main(String[] arguments) throws Exception {
        var environment =
            StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(arguments[3]), settings(arguments[4]));
        environment.getConfig().enableObjectReuse();
        environment.enableCheckpointing(10_000);
        var source = KafkaSource.<Tuple3<Long, Long, Long>>builder()
            .setBootstrapServers(arguments[0])
            .setTopics(arguments[1])
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setDeserializer(new Scan())
            .setProperty("isolation.level", "read_committed")
            .build();
        var watermarks = WatermarkStrategy.<Tuple3<Long, Long, Long>>forBoundedOutOfOrderness(Duration.ofSeconds(5))
            .withTimestampAssigner((order, ignored) -> order.f2);
        var sink = KafkaSink.<Tuple4<Long, Long, Long, Long>>builder()
            .setBootstrapServers(arguments[0])
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(arguments[2])
            .setProperty("transaction.timeout.ms", "600000")
            .setRecordSerializer(new Write(arguments[2]))
            .build();
        environment.fromSource(source, watermarks, "orders")
            .keyBy(order -> order.f0, Types.LONG)
            .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
            .aggregate(
                new CountAndSum(), new WithWindow(), PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO,
                PrimitiveArrayTypeInfo.LONG_PRIMITIVE_ARRAY_TYPE_INFO,
                Types.TUPLE(Types.LONG, Types.LONG, Types.LONG, Types.LONG))
            .sinkTo(sink);
        environment.execute("order-counts");
    }

    private static Configuration settings(String checkpoints) {
        var settings = new Configuration();
        settings.setString("rest.bind-address", "127.0.0.1");
        settings.setString("rest.address", "127.0.0.1");
        settings.setString("jobmanager.bind-host", "127.0.0.1");
        settings.setString("taskmanager.bind-host", "127.0.0.1");
        settings.setString("taskmanager.host", "127.0.0.1");
        settings.setString("execution.checkpointing.dir", checkpoints);
        return settings;
    }

    /** Returns (user, total, event time) by a scan for the three fields. */
    private static class Scan implements KafkaRecordDeserializationSchema<Tuple3<Long, Long, Long>> {
        private final Tuple3<Long, Long, Long> order = new Tuple3<>();

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Tuple3<Long, Long, Long>> out) {
            byte[] value = record.value();
            int user = after(value, USER, 0);
            int total = after(value, TOTAL, user);
            int created = after(value, CREATED, total);
            if (created < 0) return;
            order.setFields(number(value, user), number(value, total), instant(value, created));
            out.collect(order);
        }

        @Override
        public TypeInformation<Tuple3<Long, Long, Long>> getProducedType() {
            return Types.TUPLE(Types.LONG, Types.LONG, Types.LONG);
        }
    }

    private static int after(byte[] text, byte[] name, int from) {
        if (from < 0) return -1;
        int last = text.length - name.length;
        for (int at = from; at <= last; at++) {
            int same = 0;
            while (same < name.length && text[at + same] == name[same]) same++;
            if (same == name.length) return at + same;
        }
        return -1;
    }

    private static long number(byte[] text, int at) {
        long number = 0;
        for (; at < text.length && text[at] >= '0' && text[at] <= '9'; at++) number = number * 10 + text[at] - '0';
        return number;
    }

    /** Parses 2026-11-22T10:00:00.123Z. The days are counted by Hinnant's days_from_civil. */
    private static long instant(byte[] text, int at) {
        long year = digits(text, at, 4);
        long month = digits(text, at + 5, 2);
        long day = digits(text, at + 8, 2);
        year -= month <= 2 ? 1 : 0;
        long era = year / 400;
        long yearOfEra = year - era * 400;
        long dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        long dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
        long days = era * 146_097 + dayOfEra - 719_468;
        long seconds = digits(text, at + 11, 2) * 3_600 + digits(text, at + 14, 2) * 60 + digits(text, at + 17, 2);
        return (days * 86_400 + seconds) * 1_000 + digits(text, at + 20, 3);
    }

    private static long digits(byte[] text, int at, int count) {
        long number = 0;
        for (int end = at + count; at < end; at++) number = number * 10 + text[at] - '0';
        return number;
    }

    /** {orders, cents}, changed in place. */
    private static class CountAndSum implements AggregateFunction<Tuple3<Long, Long, Long>, long[], long[]> {
        @Override
        public long[] createAccumulator() {
            return new long[2];
        }

        @Override
        public long[] add(Tuple3<Long, Long, Long> order, long[] sum) {
            sum[0]++;
            sum[1] += order.f1;
            return sum;
        }

        @Override
        public long[] getResult(long[] sum) {
            return sum;
        }

        @Override
        public long[] merge(long[] a, long[] b) {
            return new long[] {a[0] + b[0], a[1] + b[1]};
        }
    }

    private static class WithWindow extends ProcessWindowFunction<long[], Tuple4<Long, Long, Long, Long>, Long, TimeWindow> {
        private final Tuple4<Long, Long, Long, Long> result = new Tuple4<>();

        @Override
        public void process(
                Long user, Context context, Iterable<long[]> sums, Collector<Tuple4<Long, Long, Long, Long>> out) {
            long[] sum = sums.iterator().next();
            result.setFields(user, context.window().getStart(), sum[0], sum[1]);
            out.collect(result);
        }
    }

    private static class Write implements KafkaRecordSerializationSchema<Tuple4<Long, Long, Long, Long>> {
        private static final DateTimeFormatter WIRE =
            DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

        private final String topic;
        private long start = Long.MIN_VALUE;
        private String window = "";

        Write(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
                Tuple4<Long, Long, Long, Long> result, KafkaSinkContext context, Long timestamp) {
            if (result.f1 != start) {
                start = result.f1;
                window = ",\"window_start\":\"" + WIRE.format(Instant.ofEpochMilli(start)) + "\",\"window_end\":\""
                    + WIRE.format(Instant.ofEpochMilli(start + 60_000)) + "\",\"order_count\":";
            }
            String user = Long.toString(result.f0);
            String value = "{\"user_id\":" + user + window + result.f2 + ",\"total_cents\":" + result.f3 + ",\"revision\":0}";
            return new ProducerRecord<>(
                topic, user.getBytes(StandardCharsets.US_ASCII), value.getBytes(StandardCharsets.US_ASCII));
        }
    }
}
