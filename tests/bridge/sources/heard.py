"""What a household's broker says, by kind; each shape as it was seen."""

from __future__ import annotations

from tests.bridge.sources import shapes

# chirpstack/chirpstack-docs, page "Event types"; shortened to what tells it apart.
CHIRPSTACK = (
    "application/0b1a/device/0101010101010101/event/up",
    '{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"2022-07-18T09:34:15+00:00",'
    '"deviceInfo":{"tenantName":"t","applicationId":"0b1a","devEui":"0101010101010101"},'
    '"devAddr":"00189440","fCnt":10,"fPort":1,"data":"qg==","object":{"temperatureSensor":'
    '{"1":22.5},"battery":3.6},"rxInfo":[{"gatewayId":"0016c001f153a14c","rssi":-36,"snr":10.5}]}',
)
# The Things Stack's documentation, page "Data Formats".
TTN = (
    "v3/app@tenant/devices/dev1/up",
    '{"end_device_ids":{"device_id":"dev1","application_ids":{"application_id":"app"},'
    '"dev_eui":"0004A30B001C0530"},"received_at":"2020-02-12T15:15:45.787Z","uplink_message":'
    '{"f_port":1,"f_cnt":1,"frm_payload":"gkHe","decoded_payload":{"temperature":1.5,"luminosity":'
    '0.4},"rx_metadata":[{"gateway_ids":{"gateway_id":"gw1"},"rssi":-35,"snr":5}]}}',
)
SPARKPLUG = ("spBv1.0/plant/DDATA/node/dev", "\b\x01")

TASMOTA = (
    "tele/garden/SENSOR",
    '{"Time":"2023-08-20T11:09:47","DS18B20":{"Id":"3CE10457A8F9","Temperature":27.9},'
    '"BME280":{"Temperature":27.8,"Humidity":54.5,"DewPoint":17.8,"Pressure":1018.0},'
    '"ODD":{"x":1},"PressureUnit":"hPa","TempUnit":"C"}',
)
PLAIN = ("meter/1/out", '{"laeq":52.1,"info":{"battery":80},"fw":"1.2"}')
PLAIN_TWO = ("meter/2/out", '{"laeq":50.1,"info":{"battery":81},"fw":"1.2"}')
STATES = [
    ("c3-debug/sensor/pressure_voltage/state", "3.104"),
    ("myhome/Temp Sensor", '{"temperature":21.5,"battery":100}'),
    ("unknown-node/sensor/noise/state", "51.5"),
]
CONFIGS = [shapes.ESPHOME_CONFIG, shapes.ZIGBEE]
READINGS = [TASMOTA, CHIRPSTACK, TTN, SPARKPLUG, PLAIN, PLAIN_TWO, *STATES]
