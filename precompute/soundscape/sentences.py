"""What the voices say: short everyday sentences without feeling in their words, so that the voice alone carries it.

Each language has its own sentences for each split; no sentence is in two splits. The last ones of each
block are short, for when there is little time.
"""

from __future__ import annotations

import re

LANGUAGES = ("english", "spanish", "french", "german")
"""The languages of the demo world's voices."""

SPLITS = ("train", "validation", "selection", "evaluation")
"""The splits of the demo world."""

_ENGLISH = {
    "train": """
        The train leaves from the second platform. We keep the milk next to the eggs. My brother works near the station.
        The shop on the corner opens at nine. She put the letters on the table. There is a map in the top drawer.
        The meeting starts after lunch. He parked the car behind the bank. The book is on the lower shelf.
        I usually walk to the office. They painted the kitchen last week. The bus stops in front of the school.
        We need two more chairs. The window faces the garden. Please write your name on this line.
        The lamp stands beside the sofa. Our neighbour has a blue bicycle. The soup needs ten more minutes.
        I left my coat in the hall. The library closes at six on Friday. He reads the paper in the morning.
        The key is under the flower pot. We went to the market by tram. The class has twenty four pupils.
        She is cutting bread for breakfast. The road goes around the lake. You can leave the parcel with me.
        The printer is out of paper. They moved the desk to the other wall. The water is warm enough now.
        I bought a pair of brown shoes. The doctor sees patients until noon. We meet every second Thursday.
        The boat crosses the river twice a day. He wrote the number on a card. The cups are in the left cupboard.
        Turn right after the church. The film lasts about two hours. My aunt lives on the third floor.
        The gate is made of wood. They sell stamps at the counter. I will bring the plates from the kitchen.
        The clock on the wall is slow. Her office is at the end of the corridor. We drink tea in the afternoon.
        The farmer keeps the hay in the barn. This road leads to the harbour. Put the folder on the chair.
        The door is open. It is half past ten. We live nearby. The cup is empty. He is in the hall. I have two keys.
        She works there. This is my seat. The light is on. They come by bus.
        """,
    "validation": """
        The towel hangs behind the door. He takes the early ferry on Mondays. I ordered rice and beans.
        The museum is next to the park. She lent me a pencil and some paper. The carpet covers half of the room.
        We change trains in the next town. The form has to be signed twice. There is soap under the sink.
        My cousin repairs old radios. The ladder is in the garage. They planted beans along the fence.
        The room is upstairs. He sits by the wall. I need a pen.
        """,
    "selection": """
        The basket is full of apples. He turned the page and went on reading. Our table is near the entrance.
        The post arrives around eleven. She folded the shirts on the bed. The bridge is closed to lorries.
        I keep the tickets in my wallet. The roof was covered with tiles. They are waiting at the crossing.
        Put some salt in the pan. The hotel has forty rooms. We follow the path to the village.
        The shelf is full. She lives in town. It is noon now.
        """,
    "evaluation": """
        The bottle stands on the counter. He asked for a glass of water. The pharmacy is across the street.
        I set the table for five people. The stairs lead to the cellar. She carried the box upstairs.
        They grow tomatoes behind the house. The number seven tram goes downtown. My watch shows half past four.
        The pillow is on the grey armchair. We bought some flour and sugar. The course begins in September.
        He is looking for his glasses. The forest starts beyond the field. You will find the form online.
        The bakery sells rolls and cakes.
        The pot is clean. I am at home. He has the list. The bag is grey.
        """,
}

_SPANISH = {
    "train": """
        El tren sale del segundo andén. Guardamos la leche al lado de los huevos. Mi hermano trabaja cerca de la plaza.
        La tienda de la esquina abre a las nueve. Ella dejó las cartas en la mesa. Hay un mapa en el cajón de arriba.
        La reunión empieza después de comer. Aparcó el coche detrás del banco. El libro está en el estante.
        Normalmente voy andando a la oficina. Pintaron la cocina la semana pasada. El autobús para delante del colegio.
        Necesitamos dos sillas más. La ventana da al jardín. Escriba su nombre en esta línea.
        La lámpara está junto al sofá. El vecino tiene una bicicleta azul. A la sopa le faltan diez minutos.
        Dejé mi abrigo en la entrada. La biblioteca cierra a las seis. Lee el periódico por la mañana.
        La llave está debajo de la maceta. Fuimos al mercado en tranvía. La clase tiene veinte alumnos.
        Está cortando pan para el desayuno. La carretera rodea el lago. Puede dejar el paquete aquí.
        La impresora no tiene papel. Movieron el escritorio a la otra pared. El agua ya está templada.
        Compré unos zapatos marrones. El médico atiende hasta el mediodía. Nos vemos cada dos jueves.
        El barco cruza el río dos veces al día. Escribió el número en una tarjeta. Las tazas están en el armario.
        Gire a la derecha en la iglesia. La película dura unas dos horas. Mi tía vive en el tercer piso.
        La puerta es de madera. Venden sellos en el mostrador. Yo traigo los platos de la cocina.
        El reloj de la pared va atrasado. Su despacho está al final del pasillo. Tomamos té por la tarde.
        El granjero guarda la paja en el granero. Este camino lleva al puerto. Pon la carpeta en la silla.
        La puerta está abierta. Son las diez. Vivimos cerca. La taza está vacía. Él está fuera. Tengo dos llaves.
        Ella trabaja allí. Es mi asiento. La luz está dada. Vienen en coche.
        """,
    "validation": """
        La toalla cuelga detrás de la puerta. Los lunes toma el primer barco. He pedido arroz con judías.
        El museo está al lado del parque. Me prestó un lápiz y unas hojas. La alfombra cubre media habitación.
        Cambiamos de tren en el próximo pueblo. Hay que firmar dos veces. El jabón está bajo el lavabo.
        Mi primo arregla radios antiguas. La escalera está en el garaje. Plantaron judías junto a la valla.
        El cuarto está arriba. Él va delante. Quiero un bolígrafo.
        """,
    "selection": """
        La cesta está llena de manzanas. Pasó la página y siguió leyendo. Nuestra mesa está en la entrada.
        El correo llega hacia las once. Dobló las camisas sobre la cama. El puente está cerrado a los camiones.
        Llevo los billetes en la cartera. El tejado es de tejas rojas. Están esperando en el cruce.
        Echa un poco de sal. El hotel tiene cuarenta cuartos. Seguimos el sendero hasta la aldea.
        El cajón está lleno. Vive en el centro. Es mediodía.
        """,
    "evaluation": """
        La botella está en la encimera. Pidió un vaso de agua. La farmacia queda al otro lado de la calle.
        Puse la mesa para cinco personas. Los escalones bajan al sótano. Ella subió la caja al primero.
        Cultivan tomates detrás de la casa. El tranvía siete va al centro. Mi reloj marca las cuatro y media.
        La almohada está en el sillón gris. Compramos harina y azúcar. El curso empieza en septiembre.
        Está buscando sus gafas. El bosque comienza tras el campo. El formulario está en la página.
        En la panadería venden bollos.
        La olla está limpia. Estoy en casa. Tiene la lista. La bolsa es gris.
        """,
}

_FRENCH = {
    "train": """
        Le train part du deuxième quai. Nous rangeons le lait à côté des œufs. Mon frère travaille près de la gare.
        Le magasin du coin ouvre à neuf heures. Elle a posé les lettres sur la table. Il y a une carte dans le tiroir.
        La réunion commence après le repas. Il a garé la voiture derrière la banque. Le livre est sur l'étagère.
        Je vais au bureau à pied. Ils ont repeint la cuisine. Le bus s'arrête devant l'école.
        Il nous faut deux chaises de plus. La fenêtre donne sur le jardin. Écrivez votre nom sur cette ligne.
        La lampe est à côté du canapé. Notre voisin a un vélo bleu. La soupe doit cuire encore dix minutes.
        J'ai laissé mon manteau dans l'entrée. La bibliothèque ferme à six heures. Il lit le journal le matin.
        La clé est sous le pot de fleurs. Nous sommes allés au marché en tram. La classe compte vingt élèves.
        Elle coupe du pain pour le petit déjeuner. La route fait le tour du lac. Vous pouvez laisser le paquet ici.
        Il n'y a plus de papier. Ils ont déplacé le bureau contre le mur. L'eau est assez chaude maintenant.
        J'ai acheté des chaussures brunes. Le médecin reçoit jusqu'à midi. On se voit un jeudi sur deux.
        Le bateau traverse le fleuve deux fois par jour. Il a noté le numéro. Les tasses sont dans le placard.
        Tournez à droite après l'église. Le film dure environ deux heures. Ma tante habite au troisième étage.
        Le portail est en bois. On vend des timbres au guichet. J'apporte les assiettes de la cuisine.
        L'horloge du mur retarde. Son bureau est au bout du couloir. Nous buvons du thé l'après-midi.
        Le fermier garde le foin dans la grange. Ce chemin mène au port. Mets le dossier sur la chaise.
        La porte est ouverte. Il est dix heures. Nous habitons ici. La tasse est vide. Il est dehors. J'ai deux clés.
        Elle travaille là. C'est ma place. La lampe est allumée. Ils viennent en bus.
        """,
    "validation": """
        La serviette est derrière la porte. Le lundi, il prend le premier bac. J'ai commandé du riz et des haricots.
        Le musée se trouve près du parc. Elle m'a prêté un crayon. Le tapis couvre la moitié de la pièce.
        Nous changeons de train à la prochaine ville. Il faut signer deux fois. Le savon est sous l'évier.
        Mon cousin répare de vieilles radios. L'échelle est dans le garage. Ils ont planté des haricots.
        La chambre est en haut. Il marche devant. Il faut un stylo.
        """,
    "selection": """
        Le panier est plein de pommes. Il a tourné la page et continué à lire. Notre table est près de l'entrée.
        Le courrier arrive vers onze heures. Elle a plié les chemises sur le lit. Le pont est fermé aux camions.
        Je garde les billets dans mon sac. Le toit est couvert de tuiles. Ils attendent au carrefour.
        Mets un peu de sel. L'hôtel a quarante chambres. Nous suivons le sentier jusqu'au village.
        L'armoire est pleine. Elle vit en ville. Il est midi.
        """,
    "evaluation": """
        La bouteille est sur le comptoir. Il a demandé un verre d'eau. La pharmacie est de l'autre côté de la rue.
        J'ai mis la table pour cinq personnes. L'escalier descend à la cave. Elle a monté la boîte à l'étage.
        Ils cultivent des tomates derrière la maison. Le tram numéro sept va au centre. Ma montre indique quatre heures.
        Le coussin est sur le fauteuil gris. Nous avons acheté de la farine. Le cours commence en septembre.
        Il cherche ses lunettes. La forêt commence après le champ. Le formulaire est en ligne.
        La boulangerie vend des gâteaux.
        La marmite est propre. Je suis chez moi. Il a la liste. Le sac est gris.
        """,
}

_GERMAN = {
    "train": """
        Der Zug fährt von Gleis zwei. Wir stellen die Milch neben die Eier. Mein Bruder arbeitet beim Bahnhof.
        Der Laden an der Ecke öffnet um neun. Sie legte die Briefe auf den Tisch. In der Schublade liegt eine Karte.
        Die Sitzung beginnt nach dem Essen. Er hat das Auto hinter der Bank geparkt. Das Buch steht im Regal.
        Ich gehe meist zu Fuß ins Büro. Sie haben die Küche gestrichen. Der Bus hält vor der Schule.
        Wir brauchen noch zwei Stühle. Das Fenster geht zum Garten. Schreiben Sie Ihren Namen auf diese Zeile.
        Die Lampe steht neben dem Sofa. Unser Nachbar hat ein blaues Fahrrad. Die Suppe braucht noch zehn Minuten.
        Ich habe den Mantel im Flur gelassen. Die Bücherei schließt um sechs. Er liest morgens die Zeitung.
        Der Schlüssel liegt unter dem Topf. Wir fuhren mit der Bahn zum Markt. In der Klasse sind zwanzig Schüler.
        Sie schneidet Brot zum Frühstück. Die Straße führt um den See. Sie können das Paket hier lassen.
        Der Drucker hat kein Papier mehr. Der Schreibtisch steht jetzt an der Wand. Das Wasser ist warm genug.
        Ich habe braune Schuhe gekauft. Der Arzt hat bis mittags Sprechstunde. Wir treffen uns jeden Donnerstag.
        Das Boot fährt zweimal am Tag. Er schrieb die Nummer auf einen Zettel. Die Tassen stehen im Schrank.
        Biegen Sie nach der Kirche rechts ab. Der Film dauert etwa zwei Stunden. Meine Tante wohnt im dritten Stock.
        Das Tor ist aus Holz. Briefmarken gibt es am Schalter. Ich bringe die Teller aus der Küche.
        Die Uhr an der Wand geht nach. Ihr Zimmer liegt am Ende des Ganges. Nachmittags trinken wir Tee.
        Der Bauer hat das Heu in der Scheune. Dieser Weg führt zum Hafen. Leg die Mappe auf den Stuhl.
        Die Tür ist offen. Es ist halb elf. Wir wohnen hier. Die Tasse ist leer. Er ist im Flur. Ich habe zwei Stifte.
        Sie arbeitet dort. Das ist mein Platz. Das Licht ist an. Sie kommen mit dem Bus.
        """,
    "validation": """
        Das Handtuch hängt hinter der Tür. Montags nimmt er die erste Fähre. Ich habe Reis mit Bohnen bestellt.
        Das Museum liegt neben dem Park. Sie hat mir einen Bleistift geliehen. Der Teppich bedeckt das halbe Zimmer.
        Wir steigen in der nächsten Stadt um. Man muss zweimal unterschreiben. Die Seife ist unter dem Becken.
        Mein Vetter repariert alte Radios. Die Leiter steht in der Garage. Am Zaun wachsen Bohnen.
        Das Zimmer ist oben. Er geht voran. Ich brauche einen Stift.
        """,
    "selection": """
        Der Korb ist voller Äpfel. Er blätterte um und las weiter. Unser Tisch ist nahe am Eingang.
        Die Post kommt gegen elf. Sie faltete die Hemden auf dem Bett. Die Brücke ist für Laster gesperrt.
        Ich habe die Karten in der Tasche. Das Dach wurde mit Ziegeln gedeckt. Sie warten an der Kreuzung.
        Gib etwas Salz in die Pfanne. Das Hotel hat vierzig Zimmer. Wir folgen dem Pfad bis zum Dorf.
        Das Fach ist voll. Sie lebt in der Stadt. Es ist Mittag.
        """,
    "evaluation": """
        Die Flasche steht auf der Theke. Er bat um ein Glas Wasser. Die Apotheke ist gleich gegenüber.
        Ich decke den Tisch für fünf Personen. Die Treppe führt in den Keller. Sie trug die Kiste nach oben.
        Hinter dem Haus wachsen Tomaten. Die Linie sieben fährt ins Zentrum. Meine Uhr zeigt halb fünf.
        Das Kissen liegt auf dem grauen Sessel. Wir haben Mehl und Zucker gekauft. Der Kurs beginnt im September.
        Er sucht seine Brille. Der Wald beginnt hinter dem Feld. Das Formular finden Sie im Netz.
        Beim Bäcker gibt es Brötchen und Kuchen.
        Der Topf ist sauber. Ich bin zu Hause. Er hat die Liste. Die Tasche ist grau.
        """,
}


def _sentences(block: str) -> tuple[str, ...]:
    return tuple(re.split(r"(?<=\.)\s+", block.strip()))


SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    language: {split: _sentences(block) for split, block in blocks.items()}
    for language, blocks in zip(LANGUAGES, (_ENGLISH, _SPANISH, _FRENCH, _GERMAN), strict=True)
}
"""Sentences by language and split."""
